package argocd

import (
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// sorted goes through a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

// isPattern is Argo CD's own test for a path to be expanded.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

// matchFiles expands a pattern in which a star stops at a slash, in the order
// in which the directories are read. What only some libraries know (**, braces)
// is refused rather than guessed at.
func matchFiles(files fs.FS, pattern string) ([]string, error) {
	if strings.Contains(pattern, "**") || strings.ContainsAny(pattern, "{\\") {
		return nil, &render.NeedsError{What: "the files that match " + gitindex.Clean(pattern, 200),
			Why: "a pattern with ** or braces is not expanded here", Do: "list the files or use * within one directory"}
	}
	matches := []string{"."}
	for step := range strings.SplitSeq(pattern, "/") {
		var next []string
		for _, dir := range matches {
			found, err := matchStep(files, dir, step)
			if err != nil {
				return nil, err
			}
			next = append(next, found...)
		}
		matches = next
	}
	return matches, nil
}

func matchStep(files fs.FS, dir, step string) ([]string, error) {
	if !isPattern(step) {
		name := path.Join(dir, step)
		if _, err := fs.Stat(files, name); err != nil {
			return nil, nil
		}
		return []string{name}, nil
	}
	if state, err := fs.Stat(files, dir); err != nil || !state.IsDir() {
		return nil, nil
	}
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		ok, err := path.Match(step, e.Name())
		if err != nil {
			return nil, fmt.Errorf("%q is no pattern: %w", gitindex.Clean(step, 100), err)
		}
		if ok {
			found = append(found, path.Join(dir, e.Name()))
		}
	}
	return found, nil
}

// pathspec is a pattern as "git ls-files -- pattern" takes it: a star crosses
// slashes, and a pattern without one means everything below it too (gitglossary,
// pathspec). Its magic is refused.
func pathspec(pattern string) (func(name string) bool, error) {
	if strings.HasPrefix(pattern, ":") {
		return nil, fmt.Errorf("the pattern %q uses Git's pathspec magic", gitindex.Clean(pattern, 100))
	}
	literal := path.Clean("./" + pattern)
	whole := literal
	below := func(name string) bool {
		return whole == "." || name == whole || strings.HasPrefix(name, whole+"/")
	}
	if !strings.ContainsAny(pattern, "*?[\\") {
		return below, nil
	}
	if strings.HasSuffix(pattern, "/") { // of a directory, which no file is
		literal += "/"
	}
	expression, err := wildmatch(literal)
	if err != nil {
		return nil, err
	}
	return func(name string) bool { return below(name) || expression.MatchString(name) }, nil
}

// wildmatch is Git's without WM_PATHNAME.
func wildmatch(pattern string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		case '[':
			end := strings.IndexByte(pattern[min(i+2, len(pattern)):], ']')
			if end < 0 || strings.ContainsAny(pattern[i:i+2+end], `\:`) {
				return nil, fmt.Errorf("the pattern %q has brackets that are not read here", gitindex.Clean(pattern, 100))
			}
			inside := pattern[i+1 : i+2+end]
			if strings.HasPrefix(inside, "!") {
				inside = "^" + inside[1:]
			}
			b.WriteString("[" + strings.ReplaceAll(inside, "[", `\[`) + "]")
			i += 2 + end
		case '\\':
			if i++; i < len(pattern) {
				b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
			}
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	b.WriteString(`\z`)
	expression, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("%q is no pattern", gitindex.Clean(pattern, 100))
	}
	return expression, nil
}

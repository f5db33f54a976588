package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"github.com/gitward/gitward/gitindex"
	yamlv2 "go.yaml.in/yaml/v2"
	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// placed is what is wrong with a document, and where in it.
type placed struct {
	line    int // from 1 in the document
	message string
}

func (p *placed) Error() string { return p.message }

func at(line int, format string, args ...any) error {
	return &placed{line: line, message: fmt.Sprintf(format, args...)}
}

// outline is what the first, cheap pass over a document finds.
type outline struct {
	line, end int    // of the document's content
	items     []span // of a top-level "items" list, where there is one
	object    bool   // it may be an object: apiVersion and kind stand at the top
	isJSON    bool
}

type span struct{ line, end int }

// Read says which objects one document declares. Lines count from the
// document's first, and paths are empty: Doc.Place puts both right. It depends
// on nothing but its arguments.
func Read(text []byte, limits Limits) ([]Object, []gitindex.Problem) {
	limits = limits.orDefaults()
	objects, problems, err := read(text, limits)
	if err != nil {
		problems = append(problems, problem(text, err))
	}
	return objects, problems
}

func read(text []byte, limits Limits) ([]Object, []gitindex.Problem, error) {
	if len(text) > limits.File {
		return nil, nil, at(1, "is %d bytes, more than the limit of %d", len(text), limits.File)
	}
	out, err := survey(text, limits)
	if err != nil || !out.object {
		return nil, nil, err
	}
	meaning, err := toJSON(text, out)
	if err != nil {
		return nil, nil, err
	}
	r := reader{limits: limits, out: out}
	err = r.document(meaning)
	return r.objects, r.problems, err
}

// survey looks at a document without asking what it means. kubectl takes text
// that begins with a brace as JSON if it can, and JSON allows what YAML does
// not (tabs, surrogate pairs): so does Read.
func survey(text []byte, limits Limits) (outline, error) {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(text) {
		return surveyJSON(text, limits)
	}
	if err := oneDocument(text); err != nil {
		return outline{}, err
	}
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(text, &root); err != nil {
		return outline{}, err
	}
	return surveyYAML(text, &root, limits)
}

// toJSON is the document's meaning, as compact JSON with sorted keys.
func toJSON(text []byte, out outline) (meaning []byte, err error) {
	if out.isJSON {
		return sortJSON(text)
	}
	return yaml.YAMLToJSON(text)
}

// oneDocument refuses a text that a YAML parser takes for several documents:
// kubectl would silently read the first and forget the rest.
func oneDocument(text []byte) error {
	if marker := strayMarker(text); marker >= 0 {
		line := 1 + bytes.Count(text[:marker], []byte("\n"))
		return at(line, "a line that begins with \"---\" may hold nothing else but a comment: tools read the rest differently")
	}
	if !mayEnd(text) {
		return nil
	}
	decoder := yamlv2.NewDecoder(bytes.NewReader(text))
	var first, second yamlv2.MapSlice // the cheapest that keeps everything
	if err := decoder.Decode(&first); err != nil && !isTypeError(err) {
		return err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return at(contentLine(text), "more text follows this document's end without a \"---\" line: appliers leave it out or fail")
	}
	return nil
}

func isTypeError(err error) bool {
	var mismatch *yamlv2.TypeError
	return errors.As(err, &mismatch)
}

// strayMarker is where a line begins with "---" that is no separator, or -1.
func strayMarker(text []byte) int {
	if bytes.HasPrefix(text, []byte("---")) {
		return 0
	}
	if i := bytes.Index(text, []byte("\n---")); i >= 0 {
		return i + 1
	}
	return -1
}

// mayEnd reports whether the text could hold the end of a document that
// kubectl does not see: an end marker, or a marker after one of the line
// breaks that only YAML knows.
func mayEnd(text []byte) bool {
	for _, mark := range []string{"\n...", "\r---", "\r...", "\u0085", "\u2028", "\u2029"} {
		if bytes.Contains(text, []byte(mark)) {
			return true
		}
	}
	return bytes.HasPrefix(text, []byte("..."))
}

var (
	lineOfError   = regexp.MustCompile(`line (\d+): `)
	quotedInError = regexp.MustCompile("(?s)`.*`")
	uglyPrefixes  = regexp.MustCompile(`^(error converting YAML to JSON: )?(yaml: )*(unmarshal errors:\s*)?`)
)

// problem puts an error into the form people read: a line, and no value of
// the document, which may be a secret.
func problem(text []byte, err error) gitindex.Problem {
	var p *placed
	if errors.As(err, &p) {
		return gitindex.Problem{Line: p.line, Message: p.message}
	}
	message := uglyPrefixes.ReplaceAllString(err.Error(), "")
	line := contentLine(text)
	if m := lineOfError.FindStringSubmatch(message); m != nil {
		message = lineOfError.ReplaceAllString(message, "")
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 && n <= 1+bytes.Count(text, []byte("\n")) {
			line = n
		}
	}
	message = gitindex.Clean(quotedInError.ReplaceAllString(message, "a value"), 200)
	if bytes.Contains(text, []byte("{{")) {
		message += " (the document holds {{: a template of a chart or generator?)"
	}
	return gitindex.Problem{Line: line, Message: "does not parse: " + message}
}

// contentLine is the first line that is neither blank nor a comment.
func contentLine(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return n
		}
	}
	return 1
}

package gitrepo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
)

var somePaths = []string{"a", "a.yaml", "a/b", "a/c", "a-b", "d/e/f", "d/e/g", "d/h", "z"}

// drawHistory makes commits on three branches, with merges, octopuses, mode
// changes, renames, and files that become directories.
func drawHistory(t *rapid.T, repo *gitserver.Repo) {
	tips := map[string]string{}
	for n := range rapid.IntRange(1, 12).Draw(t, "commits") {
		o := gitserver.CommitOptions{Files: map[string]string{}, Modes: map[string]uint32{}, Links: map[string]string{}, Message: fmt.Sprint(n)}
		branch := rapid.SampledFrom([]string{"main", "side", "third"}).Draw(t, "branch")
		o.Ref = "refs/heads/" + branch
		o.Parents = []string{}
		for _, b := range []string{branch, "main", "side", "third"} {
			if tip := tips[b]; tip != "" && !slices.Contains(o.Parents, tip) && (len(o.Parents) == 0 || rapid.Bool().Draw(t, "merge")) {
				o.Parents = append(o.Parents, tip)
			}
		}
		for range rapid.IntRange(0, 3).Draw(t, "edits") {
			path := rapid.SampledFrom(somePaths).Draw(t, "path")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				o.Delete = append(o.Delete, path)
			case 1:
				o.Links[path] = strings.Repeat(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "link"), 40)
			default:
				o.Files[path] = rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "content")
				o.Modes[path] = rapid.SampledFrom([]uint32{object.ModeFile, object.ModeExecutable, object.ModeSymlink}).Draw(t, "mode")
			}
		}
		// One commit must not have a path both as file and as directory.
		for a := range o.Files {
			for _, b := range somePaths {
				if strings.HasPrefix(b, a+"/") {
					delete(o.Files, b)
					delete(o.Links, b)
				}
			}
		}
		for a := range o.Links {
			delete(o.Files, a)
			for _, b := range somePaths {
				if strings.HasPrefix(b, a+"/") || strings.HasPrefix(a, b+"/") {
					delete(o.Files, b)
				}
			}
		}
		if o.Links["a"] != "" {
			delete(o.Links, "a/b")
			delete(o.Links, "a/c")
		}
		id, err := repo.Commit(o)
		if err != nil {
			t.Fatal(err)
		}
		tips[branch] = id
	}
	if tips["main"] == "" {
		if _, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"m": "m"}}); err != nil {
			t.Fatal(err)
		}
	}
}

// gitChanges is git's own account, one line a change.
func gitChanges(repo *gitserver.Repo) ([]string, error) {
	out, err := repo.Git("log", "--reverse", "--first-parent", "-m", "--root", "--raw", "--no-renames", "--no-abbrev", "-z", "--format=%x01%H%x00", "main")
	if err != nil {
		return nil, err
	}
	var lines []string
	commit, meta := "", ""
	for _, field := range strings.Split(out, "\x00") {
		field = strings.TrimPrefix(field, "\n")
		switch {
		case strings.HasPrefix(field, "\x01"):
			commit = field[1:]
		case strings.HasPrefix(field, ":"):
			meta = field
		case field != "" && meta != "":
			f := strings.Fields(strings.TrimPrefix(meta, ":"))
			mode := f[1]
			if mode == "000000" {
				mode = f[0]
			}
			lines = append(lines, fmt.Sprintf("%s %s %s %s %s", commit, mode, f[2], f[3], field))
			meta = ""
		}
	}
	slices.Sort(lines)
	return lines, nil
}

func ourChanges(steps []gitrepo.Step) (lines []string) {
	for _, s := range steps {
		for _, c := range s.Changes {
			lines = append(lines, fmt.Sprintf("%s %06o %v %v %s", s.Commit.ID, c.Mode, c.Old, c.New, c.Path))
		}
	}
	slices.Sort(lines)
	return lines
}

// TestWalkAgreesWithGit compares whole generated histories with git log.
func TestWalkAgreesWithGit(t *testing.T) {
	corpus.Programs(t, "git")
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		at := filepath.Join(dir, fmt.Sprint(n))
		defer os.RemoveAll(at)
		repo, err := gitserver.NewRepo(filepath.Join(at, "repo.git"))
		if err != nil {
			t.Fatal(err)
		}
		drawHistory(t, repo)
		want, err := gitChanges(repo)
		if err != nil {
			t.Fatal(err)
		}
		r, err := gitrepo.Open(filepath.Join(at, "ours"), gitrepo.Remote{URL: repo.Dir, AllowLocal: true, Ref: gitrepo.Ref{Branch: "main"}}, gitrepo.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		tip, err := r.Fetch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := r.Walk(ctx, tip, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := ourChanges(steps); !slices.Equal(got, want) {
			t.Fatalf("we say\n%s\ngit says\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		checkReachable(t, r, repo, steps)
	})
}

// checkReachable compares Reachable with git rev-list for a known commit in
// the middle of the first-parent history.
func checkReachable(t *rapid.T, r *gitrepo.Repo, repo *gitserver.Repo, steps []gitrepo.Step) {
	known := steps[rapid.IntRange(0, len(steps)-1).Draw(t, "known")].Commit.ID
	tip := steps[len(steps)-1].Commit.ID
	for _, pair := range [][2]string{{tip, ""}, {known, ""}, {tip, known}, {known, tip}, {tip, known}} {
		args := []string{"rev-list", pair[0]}
		if pair[1] != "" {
			args = append(args, "^"+pair[1])
		}
		out, err := repo.Git(args...)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(out)
		var got []string
		err = r.Reachable(ctx, pair[0], pair[1], func(id string, _ []byte) error {
			got = append(got, id)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("reachable %v: got %v, git says %v", pair, got, want)
		}
	}
}

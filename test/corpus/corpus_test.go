package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// ended is a test that notes how it was ended.
type ended struct {
	testing.TB
	how string
}

func (e *ended) Helper() {}

func (e *ended) Skip(args ...any) {
	e.how = "skip: " + fmt.Sprint(args...)
	runtime.Goexit()
}

func (e *ended) Fatalf(format string, args ...any) {
	e.how = "fail: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// ask is Dir's answer to a test, or how it ended the test.
func ask(t *testing.T, parts ...string) string {
	dir := ""
	how := end(t, func(e testing.TB) { dir = Dir(e, parts...) })
	return how + dir
}

// end is how a test ends; empty if it goes on.
func end(t *testing.T, test func(testing.TB)) string {
	e := &ended{TB: t}
	done := make(chan string)
	go func() {
		defer func() { done <- e.how }()
		test(e)
	}()
	return <-done
}

// checkout is a module with a package, and a corpus beside it if it has a tree.
func checkout(t *testing.T, tree string) string {
	t.Helper()
	top := t.TempDir()
	for _, dir := range []string{"checkout/a/b", filepath.Join("shared/corpus", tree)} {
		if tree == "" && strings.HasPrefix(dir, "shared") {
			continue
		}
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "checkout/go.mod"), []byte("module m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(top, "checkout/a/b"))
	return top
}

func TestDir(t *testing.T) {
	const gone = "skip: the corpus of real repositories is not here"
	top := checkout(t, "flux/shop")
	for _, required := range []string{"", "required"} {
		t.Setenv("GITWARD_CORPUS", required)
		if got, want := ask(t, "flux", "shop"), filepath.Join(top, "shared/corpus/flux/shop"); got != want {
			t.Errorf("%q: %s, want %s", required, got, want)
		}
		if got := ask(t, "helm"); required == "" && got != gone || required != "" && !strings.HasPrefix(got, "fail: the corpus is required: ") {
			t.Errorf("%q, a tree is missing: %s", required, got)
		}
	}
	checkout(t, "")
	if got := ask(t); !strings.HasPrefix(got, "fail: the corpus is required: ") {
		t.Errorf("all is missing: %s", got)
	}
	t.Setenv("GITWARD_CORPUS", "")
	if got := ask(t); got != gone {
		t.Errorf("all is missing: %s", got)
	}
}

func TestPrograms(t *testing.T) {
	here := func(t testing.TB) { Programs(t, "go") }
	gone := func(t testing.TB) { Programs(t, "go", "no-such-program") }
	for _, required := range []string{"", "required"} {
		t.Setenv("GITWARD_CORPUS", required)
		if got := end(t, here); got != "" {
			t.Errorf("%q, it is there: %s", required, got)
		}
		got := end(t, gone)
		if required == "" && got != "skip: no-such-program is not installed" || required != "" && !strings.HasPrefix(got, "fail: a program is required: ") {
			t.Errorf("%q, it is missing: %s", required, got)
		}
	}
}

// A corpus that cannot be looked at is not a missing one.
func TestDirOfAFile(t *testing.T) {
	top := checkout(t, "")
	if err := os.WriteFile(filepath.Join(top, "shared"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITWARD_CORPUS", "")
	if got := ask(t); !strings.HasPrefix(got, "fail: the corpus: ") {
		t.Error(got)
	}
}

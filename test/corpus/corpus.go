// Package corpus answers: where are the real repositories that tests read? They
// lie beside the checkout and are no part of it, so a test of them is left out
// where they are missing, and fails there if GITWARD_CORPUS=required; and so does a
// test of programs that are not installed.
package corpus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Dir is the corpus, or what the parts name in it. Where it is missing the test
// ends here. A corpus that is there and cannot be looked at is a failure always:
// nobody chose to leave it out.
func Dir(t testing.TB, parts ...string) string {
	t.Helper()
	dir, err := Find(parts...)
	switch {
	case err == nil:
	case os.Getenv("GITWARD_CORPUS") == "required":
		t.Fatalf("the corpus is required: %v", err)
	case errors.Is(err, fs.ErrNotExist):
		t.Skip("the corpus of real repositories is not here")
	default:
		t.Fatalf("the corpus: %v", err)
	}
	return dir
}

// Programs is the same for what is installed: where one of them is not in the PATH
// the test ends here, left out or, where the corpus is required, failed.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		switch {
		case err == nil:
		case os.Getenv("GITWARD_CORPUS") == "required":
			t.Fatalf("a program is required: %v", err)
		default:
			t.Skip(name + " is not installed")
		}
	}
}

// Find is Dir for what is no test. A corpus that is missing is fs.ErrNotExist.
func Find(parts ...string) (string, error) {
	root, err := module()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(append([]string{root, "..", "shared", "corpus"}, parts...)...)
	_, err = os.Stat(dir)
	return dir, err
}

// module is the root of the module that the working directory is in: go test
// runs each package's tests in its own directory.
func module() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod above %s", start)
		}
	}
}

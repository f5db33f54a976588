// Package elsewhere answers: what is the content of this chart or base, at its
// pin?
//
// Most of what is deployed is not in the repository that deploys it: charts
// come from Helm repositories and registries, kustomize bases from other
// repositories. Which content is meant is fixed by Git (a digest in the
// reference itself, or in the signed .gitward/lock.yaml) or, where an Origin
// says so, by the first fetch. A Store fetches what a pin names, from hosts
// that the Origin allows, and never anything else in its place.
//
// Three parties share the work, so that none has to be trusted with all of it:
//
//   - a child process with limits speaks to the network (Serve, "chart" and
//     "file"), and judges nothing;
//   - this process compares digests and checks signatures: hashes, and JSON of
//     bounded size;
//   - a child process unpacks archives (Serve, "unpack").
package elsewhere

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// ErrRefused is wrapped by the error of a reference or an answer that is not
// acceptable, whatever it leads to: asking again changes nothing.
var ErrRefused = errors.New("refused")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// MismatchError says that content is not what it is pinned to. It is never
// used, and the pin never changed.
type MismatchError struct {
	What          string
	Pinned, Found string // digests
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is pinned to %s, but what is served is %s", e.What, e.Pinned, gitindex.Clean(e.Found, 100))
}

// Limits bound what one reference may cost. A zero field means the default.
type Limits struct {
	Index    int64         `json:"index,omitempty"`    // bytes of a Helm repository's index; 64 MiB
	Archive  int64         `json:"archive,omitempty"`  // bytes of an archive or file as served; 32 MiB
	Manifest int64         `json:"manifest,omitempty"` // bytes of a manifest, a token, a page of tags; 4 MiB
	Unpacked int64         `json:"unpacked,omitempty"` // bytes of an archive's files; 100 MiB, as Helm has it
	Entries  int           `json:"entries,omitempty"`  // of an archive, directories too; 10,000
	Tags     int           `json:"tags,omitempty"`     // of a registry's repository; 50,000
	Time     time.Duration `json:"time,omitempty"`     // of one fetch, and of one unpacking; 2 minutes
	Memory   int64         `json:"memory,omitempty"`   // of the child; 1 GiB
}

func (l Limits) orDefaults() Limits {
	return Limits{
		Index:    or(l.Index, 64<<20),
		Archive:  or(l.Archive, 32<<20),
		Manifest: or(l.Manifest, 4<<20),
		Unpacked: or(l.Unpacked, 100<<20),
		Entries:  or(l.Entries, 10_000),
		Tags:     or(l.Tags, 50_000),
		Time:     or(l.Time, 2*time.Minute),
		Memory:   or(l.Memory, 1<<30),
	}
}

func or[N int | int64 | time.Duration](value, otherwise N) N {
	if value > 0 {
		return value
	}
	return otherwise
}

var (
	sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	commitID     = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// commitPin is how a Pin names a commit.
const commitPin = "sha1:"

// baseFS is what Store.Base gives: a render.BaseFS. A base in another repository
// may lean on what lies beside it there, so its root is that repository's.
type baseFS struct {
	fs.FS
	dir string
}

func (b baseFS) BaseDir() string { return b.dir }

// What a tree can do beside opening files, it can still do.

func (b baseFS) ReadFile(name string) ([]byte, error)       { return fs.ReadFile(b.FS, name) }
func (b baseFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(b.FS, name) }
func (b baseFS) Stat(name string) (fs.FileInfo, error)      { return fs.Stat(b.FS, name) }
func (b baseFS) Lstat(name string) (fs.FileInfo, error)     { return fs.Lstat(b.FS, name) }
func (b baseFS) ReadLink(name string) (string, error)       { return fs.ReadLink(b.FS, name) }

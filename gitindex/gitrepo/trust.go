package gitrepo

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"slices"
	"sort"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
)

// Timeline is the first-parent history of the tracked ref, with the commits
// that changed each path. It yields the trusted tree: every path has the blob
// of the last commit that changed it and is trusted. So an untrusted commit
// changes nothing, it does not stop the others either, a signed merge vouches
// for what it brings in, and a trusted commit that edits a file vouches for
// that file as it then stands.
//
// Trust is read from the commits' verdicts whenever it is asked for: a verdict
// that changes later, as when a key is revoked, takes effect at once. A
// Timeline may be read by several goroutines, but not while it is appended to.
type Timeline struct {
	commits  []*gitindex.Commit
	boundary []bool // of each commit: see Step.Boundary
	paths    map[string][]Touch
}

// Touch is one commit's change to one path.
type Touch struct {
	Index int       // of the commit in the Timeline
	Blob  object.ID // zero: the commit removed the path
	Mode  uint32
}

// Removed reports whether the touch took the path away.
func (t Touch) Removed() bool { return t.Blob.IsZero() }

// Held is one path whose newest state is held back.
type Held struct {
	Path string
	// Commit is the newest one that changed the path. It is not trusted.
	Commit *gitindex.Commit
	// Touch is what Commit would have the path be.
	Touch Touch
}

// Append adds steps, oldest first, with their verdicts. A malformed commit is
// not trusted whatever its signature, unless it is sealed.
func (t *Timeline) Append(steps ...Step) {
	if t.paths == nil {
		t.paths = map[string][]Touch{}
	}
	for _, s := range steps {
		c := s.Commit
		if s.Malformed != nil && c.Verdict.Outcome != gitindex.Sealed {
			c.Verdict.Outcome, c.Verdict.Detail = gitindex.Malformed, s.Malformed.Error()
		}
		for _, change := range s.Changes {
			t.paths[change.Path] = append(t.paths[change.Path], Touch{len(t.commits), change.New, change.Mode})
		}
		t.commits = append(t.commits, &c)
		t.boundary = append(t.boundary, s.Boundary)
	}
}

// Len is the number of commits.
func (t *Timeline) Len() int { return len(t.commits) }

// Commit gives the i-th commit, the oldest being 0. The caller may set its
// Verdict, but not while others read.
func (t *Timeline) Commit(i int) *gitindex.Commit { return t.commits[i] }

// Path gives all commits that changed a path, oldest first. The slice is
// shared: it must not be changed.
func (t *Timeline) Path(path string) []Touch { return slices.Clip(t.paths[path]) }

// Paths gives every path there ever was, sorted.
func (t *Timeline) Paths() []string {
	out := make([]string, 0, len(t.paths))
	for p := range t.paths {
		out = append(out, p)
	}
	sort.Strings(out)
	return out
}

// Trusted gives the trusted commits that changed a path, oldest first. The
// last of them is what the trusted tree holds: nothing if it is a removal.
func (t *Timeline) Trusted(path string) []Touch {
	var out []Touch
	for _, touch := range t.paths[path] {
		if t.trusts(touch.Index) {
			out = append(out, touch)
		}
	}
	return out
}

// Counts reports whether the i-th commit may declare objects.
func (t *Timeline) Counts(i int) bool { return t.trusts(i) }

// trusts reports whether a commit counts. Where the remote's history is cut
// off, the first commit seems to have made the whole tree, and its signature
// says nothing about all that: only a seal does.
func (t *Timeline) trusts(i int) bool {
	outcome := t.commits[i].Verdict.Outcome
	return outcome == gitindex.Sealed || outcome.Trusted() && !t.boundary[i]
}

// latest is the last trusted touch of a path, and the last of all.
func (t *Timeline) latest(path string) (trusted, newest Touch) {
	touches := t.paths[path]
	if len(touches) == 0 {
		return Touch{}, Touch{}
	}
	for i := len(touches) - 1; i >= 0; i-- {
		if t.trusts(touches[i].Index) {
			return touches[i], touches[len(touches)-1]
		}
	}
	return Touch{}, touches[len(touches)-1]
}

// TrustedTree lists what the trusted tree holds, by path.
func (t *Timeline) TrustedTree() map[string]FileEntry {
	out := map[string]FileEntry{}
	for path := range t.paths {
		if trusted, _ := t.latest(path); !trusted.Removed() {
			out[path] = FileEntry{trusted.Blob, trusted.Mode}
		}
	}
	return out
}

// HeldBack lists the paths whose newest state differs from the trusted tree,
// sorted, each with the commit that would have changed it last.
func (t *Timeline) HeldBack() []Held {
	var out []Held
	for path := range t.paths {
		trusted, newest := t.latest(path)
		same := trusted.Blob == newest.Blob && (trusted.Mode == newest.Mode || newest.Removed())
		if !same {
			out = append(out, Held{path, t.commits[newest.Index], newest})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out
}

// timelineWire is a Timeline on disk: the touches of all paths in one run of
// bytes, since there are many and each is small.
type timelineWire struct {
	Commits  []*gitindex.Commit
	Boundary []bool
	Paths    []string
	Touches  []byte
}

// MarshalBinary writes the Timeline compactly, so that a restart needs neither
// the remote nor a walk.
func (t *Timeline) MarshalBinary() ([]byte, error) {
	w := timelineWire{Commits: t.commits, Boundary: t.boundary, Paths: t.Paths()}
	for _, p := range w.Paths {
		touches := t.paths[p]
		w.Touches = binary.AppendUvarint(w.Touches, uint64(len(touches)))
		last := 0
		for _, touch := range touches {
			w.Touches = binary.AppendUvarint(w.Touches, uint64(touch.Index-last))
			w.Touches = binary.AppendUvarint(w.Touches, uint64(touch.Mode))
			w.Touches = append(w.Touches, touch.Blob[:]...)
			last = touch.Index
		}
	}
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(&w)
	return b.Bytes(), err
}

// UnmarshalBinary reads what MarshalBinary wrote, in place of what t held.
func (t *Timeline) UnmarshalBinary(data []byte) error {
	var w timelineWire
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&w); err != nil {
		return fmt.Errorf("reading a timeline: %w", err)
	}
	out := Timeline{commits: w.Commits, boundary: w.Boundary, paths: make(map[string][]Touch, len(w.Paths))}
	r := bytes.NewReader(w.Touches)
	for _, p := range w.Paths {
		touches, err := readTouches(r, len(w.Commits))
		if err != nil {
			return fmt.Errorf("reading a timeline: %w", err)
		}
		out.paths[p] = touches
	}
	if len(w.Boundary) != len(w.Commits) || r.Len() > 0 {
		return fmt.Errorf("reading a timeline: its parts do not fit together")
	}
	*t = out
	return nil
}

func readTouches(r *bytes.Reader, commits int) ([]Touch, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(r.Len())/22 {
		return nil, fmt.Errorf("%d touches do not fit into %d bytes", n, r.Len())
	}
	out := make([]Touch, n)
	last := uint64(0)
	for i := range out {
		step, err := binary.ReadUvarint(r)
		if err != nil {
			return nil, err
		}
		mode, err := binary.ReadUvarint(r)
		if err != nil {
			return nil, err
		}
		if last += step; step > uint64(commits) || last >= uint64(commits) {
			return nil, fmt.Errorf("a touch of a commit that is not there")
		}
		out[i] = Touch{Index: int(last), Mode: uint32(mode)}
		if n, _ := r.Read(out[i].Blob[:]); n != len(out[i].Blob) {
			return nil, fmt.Errorf("touches break off")
		}
	}
	return out, nil
}

package controller

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/gitrepo"
)

// The index lies on disk as a magic line, a gob and the SHA-256 of both. It
// holds what the repository beside it holds, and is as private: mode 0600.
const magic = "gitward index 2\n"

var errNoIndex = errors.New("no index on disk")

// stored is the state as it is written. Objects are derived from Files again;
// of them only what was superseded needs to be kept.
type stored struct {
	Digest    string
	Tip       string
	Timeline  []byte
	Files     map[string]*file
	Units     map[string]*Yield
	Rendered  map[string]*rendering
	Layout    string
	Met       string
	Opened    []Opened
	Past      map[gitindex.Ref][]gitindex.Past
	General   []gitindex.Problem
	FetchedAt time.Time
}

// saveState writes the state beside the old one and renames it into place, so
// that a crash leaves one or the other.
func saveState(name string, s *state) error {
	timeline, err := s.Timeline.MarshalBinary()
	if err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	out := stored{Digest: s.Digest, Tip: s.Tip, Timeline: timeline, Files: s.Files, Units: s.Units, Rendered: s.Rendered,
		Layout: s.Layout, Met: s.Met, Opened: s.Opened, General: s.General, FetchedAt: s.FetchedAt,
		Past: map[gitindex.Ref][]gitindex.Past{}}
	for ref, e := range s.Objects {
		if len(e.Past) > 0 {
			out.Past[ref] = e.Past
		}
	}
	b := bytes.NewBufferString(magic)
	if err := gob.NewEncoder(b).Encode(&out); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	if err := replaceFile(name, b.Bytes()); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	return nil
}

func replaceFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".index-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// loadState reads what saveState wrote. A file that is not whole is an error:
// the index is then built anew.
func loadState(name string) (*state, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoIndex
	}
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	body := len(data) - sha256.Size
	if body < len(magic) || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("reading the index: %s is not an index of this version", name)
	}
	if sum := sha256.Sum256(data[:body]); !bytes.Equal(sum[:], data[body:]) {
		return nil, fmt.Errorf("reading the index: %s is damaged", name)
	}
	var in stored
	if err := gob.NewDecoder(bytes.NewReader(data[len(magic):body])).Decode(&in); err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	s := &state{Digest: in.Digest, Tip: in.Tip, Timeline: &gitrepo.Timeline{}, Files: in.Files, Units: in.Units, Rendered: in.Rendered,
		Layout: in.Layout, Met: in.Met, Opened: in.Opened, General: in.General, FetchedAt: in.FetchedAt}
	if err := s.Timeline.UnmarshalBinary(in.Timeline); err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	s.relink(in.Past)
	return s, nil
}

// relink lets all manifests of one commit share one Commit again, and derives
// the objects from the files.
func (s *state) relink(past map[gitindex.Ref][]gitindex.Past) {
	commits := make(map[string]*gitindex.Commit, s.Timeline.Len())
	for i := range s.Timeline.Len() {
		c := s.Timeline.Commit(i)
		commits[c.ID] = c
	}
	share := func(c **gitindex.Commit) {
		if *c != nil && commits[(*c).ID] != nil {
			*c = commits[(*c).ID]
		}
	}
	b := &builder{timeline: s.Timeline, files: s.Files, units: s.Units}
	var all []redo
	for p, f := range s.Files {
		f.share(share)
		all = append(all, redo{origin: origin{name: p}, next: &f.Yield})
	}
	for id, y := range s.Units {
		y.share(share)
		all = append(all, redo{origin: origin{id, true}, next: y})
	}
	b.index(all)
	s.Objects = b.objects
	for ref, list := range past {
		for i := range list {
			share(&list[i].Manifest.Commit)
			share(&list[i].By)
		}
		e := s.Objects[ref]
		if e == nil {
			e = &gitindex.Entry{}
			s.Objects[ref] = e
		}
		e.Past = list
	}
}

func (y *Yield) share(share func(**gitindex.Commit)) {
	share(&y.Removal)
	for _, ms := range [][]*gitindex.Manifest{y.Manifests, y.Held, y.Unsure} {
		for _, m := range ms {
			share(&m.Commit)
		}
	}
}

// clone is a state that may be advanced without changing what was published.
func (s *state) clone() *state {
	c := *s
	return &c
}

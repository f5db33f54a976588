package controller

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // names of blobs, as git makes them
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/elsewhere"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/render"
)

// working is a working tree: files by the id that git would give them.
type working map[object.ID][]byte

// Blob gives a file's content.
func (w working) Blob(id object.ID) ([]byte, error) {
	data, ok := w[id]
	if !ok {
		return nil, fmt.Errorf("reading blob %v: %w", id, fs.ErrNotExist)
	}
	return data, nil
}

// mostChecked bounds how much of a working tree is read, in bytes.
const mostChecked = 1 << 30

// WorkingTree is what a checkout declares.
type WorkingTree struct {
	Manifests []*gitindex.Manifest // by unit, then place
	Problems  []gitindex.Problem
	// Roots is, by unit, the path in the checkout through which it is reached: a
	// file, or the unit's own directory.
	Roots map[string]string
}

// Checkout is what a working tree would declare if it were the trusted tree:
// the same files, units and objects as the server makes of it. Their one commit
// stands for what is not committed yet; nothing has been verified.
func Checkout(s Settings, root string) (*WorkingTree, error) {
	blobs := working{}
	changes, err := blobs.read(root)
	if err != nil {
		return nil, fmt.Errorf("reading the checkout: %w", err)
	}
	timeline := &gitrepo.Timeline{}
	timeline.Append(gitrepo.Step{Changes: changes, Commit: gitindex.Commit{ID: "0000000000000000000000000000000000000000",
		Subject: "the checkout as it is", Verdict: gitindex.Verdict{Outcome: gitindex.Sealed}}})
	s.Now = time.Now
	t := &Tracker{settings: s, blobs: blobs, seen: seen{}, bases: bases{}}
	st := &state{Timeline: timeline}
	b := t.builder(st)
	b.update(timeline.Paths())
	w := &WorkingTree{Problems: b.problems(), Roots: map[string]string{}}
	for id, r := range b.renderings {
		w.Roots[id] = r.Root
		if top := b.renderings[r.Root]; top != nil {
			w.Roots[id] = orRoot(top.Unit.Path)
		}
	}
	for _, e := range b.objects {
		for _, m := range e.Current {
			if !m.Alternate {
				w.Manifests = append(w.Manifests, m)
			}
		}
	}
	slices.SortFunc(w.Manifests, func(a, b *gitindex.Manifest) int {
		return cmp.Or(strings.Compare(a.Unit, b.Unit), byPlace(a, b), strings.Compare(a.Ref.String(), b.Ref.String()))
	})
	return w, nil
}

// Asks renders a working tree with what a store gives, and says what of
// elsewhere that asked for, whether the store had it or not.
func Asks(s Settings, root string, store *elsewhere.Store) ([]elsewhere.Need, error) {
	asked := &elsewhere.Asked{Of: store}
	s.always = asking{asked, store}
	if _, err := Checkout(s, root); err != nil {
		return nil, err
	}
	return asked.Needs(), nil
}

// asking is outside for Asks.
type asking struct {
	*elsewhere.Asked
	store *elsewhere.Store
}

func (a asking) ChartPin(ref render.ChartRef) string { return a.store.ChartPin(ref) }
func (a asking) BasePin(url string) string           { return a.store.BasePin(url) }

// read takes in all files below root but git's own and those that git ignores.
func (w working) read(root string) ([]gitrepo.Change, error) {
	var changes []gitrepo.Change
	total := 0
	ignored, err := gitrepo.Ignored(root)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		switch {
		case e.Name() == ".git":
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case rel != "." && ignored(strings.Split(filepath.ToSlash(rel), "/"), e.IsDir()):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return nil
		}
		data, mode, err := contentOf(name, e.Type())
		if err != nil || mode == 0 {
			return err
		}
		if total += len(data); total > mostChecked {
			return errors.New("it holds more than 1 GiB")
		}
		id := blobID(data)
		w[id] = data
		changes = append(changes, gitrepo.Change{Path: path.Clean(filepath.ToSlash(rel)), New: id, Mode: mode})
		return nil
	})
	return changes, err
}

// contentOf is a file's content and mode as git would have it; the mode is 0 for
// what git does not keep.
func contentOf(name string, t fs.FileMode) ([]byte, uint32, error) {
	switch {
	case t&fs.ModeSymlink != 0:
		target, err := os.Readlink(name)
		return []byte(filepath.ToSlash(target)), 0o120000, err
	case t.IsRegular():
		data, err := os.ReadFile(name)
		return data, 0o100644, err
	}
	return nil, 0, nil
}

func blobID(data []byte) object.ID {
	h := sha1.New() //nolint:gosec
	h.Write([]byte("blob " + strconv.Itoa(len(data)) + "\x00"))
	h.Write(data)
	return object.ID(h.Sum(nil))
}

package gitrepo

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/gitward/gitward/gitindex/object"
)

// store keeps the objects of one Repo: git packs in a bare repository, newest
// first. go-git's own storage is not used, because it is not safe to share even
// for reading, has no limits, resolves every delta twice and reads all pack
// indexes again after a fetch (8-git-and-signatures.md, sections 0 and 1).
type store struct {
	dir     string
	limits  Limits
	packs   []*pack
	shallow map[object.ID]bool // commits whose parents the remote does not have either
	bases   baseCache
	zlib    inflater
}

// pack is one pack file with its index.
type pack struct {
	file  *os.File
	size  int64
	index *packIndex
	pages pageCache
}

// bareConfig is what git needs to see to look into the directory.
const bareConfig = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"

func openStore(dir string, limits Limits) (*store, error) {
	for _, sub := range []string{"objects/pack", "objects/info", "refs/heads", filepath.Dir(trackedRef)} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"HEAD": "ref: refs/heads/none\n", "config": bareConfig} {
		if err := writeOnce(filepath.Join(dir, name), text); err != nil {
			return nil, err
		}
	}
	s := &store{dir: dir, limits: limits}
	if err := s.readShallow(); err != nil {
		return nil, err
	}
	if err := s.readPacks(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func writeOnce(name, text string) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	return os.WriteFile(name, []byte(text), 0o600)
}

func (s *store) packDir() string { return filepath.Join(s.dir, "objects", "pack") }

// readPacks opens what is on disk, and clears away what a crash left behind.
func (s *store) readPacks() error {
	files, err := os.ReadDir(s.packDir())
	if err != nil {
		return err
	}
	type aged struct {
		p *pack
		t int64
	}
	var found []aged
	for _, f := range files {
		name := filepath.Join(s.packDir(), f.Name())
		if strings.HasPrefix(f.Name(), "tmp_") {
			os.Remove(name)
			continue
		}
		if !strings.HasSuffix(f.Name(), ".pack") {
			continue
		}
		p, err := s.openPack(name)
		if err != nil {
			return fmt.Errorf("opening %s: %w", f.Name(), err)
		}
		info, err := p.file.Stat()
		if err != nil {
			return err
		}
		found = append(found, aged{p, info.ModTime().UnixNano()})
	}
	sort.Slice(found, func(i, j int) bool { return found[i].t > found[j].t })
	for _, f := range found {
		s.packs = append(s.packs, f.p)
	}
	return nil
}

func (s *store) openPack(name string) (*pack, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	index, err := s.indexOf(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &pack{file: file, size: info.Size(), index: index}, nil
}

// indexOf reads the index beside a pack; a missing or damaged one is made again.
func (s *store) indexOf(file *os.File) (*packIndex, error) {
	name := strings.TrimSuffix(file.Name(), ".pack") + ".idx"
	if raw, err := os.ReadFile(name); err == nil {
		if index, err := readPackIndex(raw); err == nil {
			return index, nil
		}
	}
	index, err := indexPack(context.Background(), file, s.limits)
	if err != nil {
		return nil, err
	}
	return index, s.writeFile(name, index.raw)
}

func (s *store) close() error {
	var errs []error
	for _, p := range s.packs {
		errs = append(errs, p.file.Close())
	}
	s.packs = nil
	return errors.Join(errs...)
}

func (s *store) tempPack() (*os.File, error) { return os.CreateTemp(s.packDir(), "tmp_pack_") }

// writeFile writes a whole file or nothing.
func (s *store) writeFile(name string, data []byte) error {
	tmp, err := os.CreateTemp(s.packDir(), "tmp_file_")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

func (s *store) writeRef(name string, id object.ID) error {
	return s.writeFile(filepath.Join(s.dir, name), []byte(id.String()+"\n"))
}

// install makes a received pack part of the store. An empty pack adds nothing.
func (s *store) install(file *os.File, index *packIndex, shallow []object.ID) error {
	if err := s.addShallow(shallow); err != nil || index.n == 0 {
		return err
	}
	if err := s.addPack(file, index); err != nil {
		return err
	}
	return s.mergePacks()
}

func (s *store) addPack(file *os.File, index *packIndex) error {
	if err := file.Sync(); err != nil {
		return err
	}
	base := filepath.Join(s.packDir(), "pack-"+hex.EncodeToString(index.packSum()))
	// The index first: a pack without one is indexed again at the next start,
	// while an index without a pack is only litter.
	if err := s.writeFile(base+".idx", index.raw); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), base+".pack"); err != nil {
		return err
	}
	if err := os.Chmod(base+".pack", 0o400); err != nil {
		return err
	}
	p, err := s.openPack(base + ".pack")
	if err != nil {
		return err
	}
	s.packs = slices.Insert(s.packs, 0, p)
	return nil
}

// remove takes a pack off the disk, once its objects are in another.
func (p *pack) remove() {
	p.file.Close()
	os.Remove(p.file.Name())
	os.Remove(strings.TrimSuffix(p.file.Name(), ".pack") + ".idx")
}

func (s *store) readShallow() error {
	s.shallow = map[object.ID]bool{}
	f, err := os.Open(filepath.Join(s.dir, "shallow"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if id, err := object.ParseID(lines.Text()); err == nil {
			s.shallow[id] = true
		}
	}
	return lines.Err()
}

func (s *store) addShallow(ids []object.ID) error {
	added := false
	for _, id := range ids {
		added = added || !s.shallow[id]
		s.shallow[id] = true
	}
	if !added {
		return nil
	}
	var text []string
	for id := range s.shallow {
		text = append(text, id.String()+"\n")
	}
	slices.Sort(text)
	return s.writeFile(filepath.Join(s.dir, "shallow"), []byte(strings.Join(text, "")))
}

func (s *store) find(id object.ID) (*pack, int64, bool) {
	for i, p := range s.packs {
		if off, ok := p.index.find(id); ok {
			// What is asked for next most likely lies in the same pack.
			if i > 8 {
				copy(s.packs[1:i+1], s.packs[:i])
				s.packs[0] = p
			}
			return p, off, true
		}
	}
	return nil, 0, false
}

func (s *store) has(id object.ID) bool {
	_, _, ok := s.find(id)
	return ok && !id.IsZero()
}

// object reads one object. The bytes are shared: nobody may change them.
func (s *store) object(id object.ID) (kind, []byte, error) {
	return s.objectUpTo(id, s.limits.ObjectBytes)
}

// objectUpTo refuses an object above max bytes before unpacking it.
func (s *store) objectUpTo(id object.ID, max int64) (kind, []byte, error) {
	p, off, ok := s.find(id)
	if !ok {
		return 0, nil, fmt.Errorf("%w: %v", ErrMissing, id)
	}
	return s.read(p, off, max)
}

func (s *store) ofKind(want kind, id object.ID) ([]byte, error) {
	k, raw, err := s.object(id)
	if err == nil && k != want {
		err = fmt.Errorf("%w: %v is a %v, not a %v", ErrMissing, id, k, want)
	}
	return raw, err
}

func (s *store) commit(id object.ID) ([]byte, error) { return s.ofKind(kindCommit, id) }
func (s *store) tree(id object.ID) ([]byte, error)   { return s.ofKind(kindTree, id) }

// link is one delta on the way down to a base.
type link struct {
	off, data, size int64
}

// read follows a chain of deltas down to a base that is whole or remembered,
// and applies it back up.
func (s *store) read(p *pack, off, max int64) (kind, []byte, error) {
	var chain []link
	var data []byte
	var final kind
	for data == nil {
		var hit bool
		if final, data, hit = s.bases.get(p, off); hit {
			break
		}
		at := &section{r: p, off: off, end: p.size}
		k, size, err := readEntryHeader(at)
		if err != nil {
			return 0, nil, err
		}
		if !k.isDelta() {
			if len(chain) == 0 && size > max {
				return 0, nil, tooLarge("bytes:", size, max)
			}
			if data, err = s.zlib.all(at, size); err != nil {
				return 0, nil, err
			}
			if final = k; len(chain) > 0 || k == kindTree {
				s.bases.put(p, off, k, data)
			}
			break
		}
		base, err := s.baseOf(p, k, off, at)
		if err != nil {
			return 0, nil, err
		}
		if len(chain) == 0 {
			if err := s.checkResult(at, size, max); err != nil {
				return 0, nil, err
			}
		}
		if len(chain) > int(s.limits.DeltaDepth) {
			return 0, nil, fmt.Errorf("%w: a chain of deltas without end", ErrMalformedPack)
		}
		chain = append(chain, link{off: off, data: at.off, size: size})
		off = base
	}
	for i := len(chain) - 1; i >= 0; i-- {
		delta, err := s.zlib.all(&section{r: p, off: chain[i].data, end: p.size}, chain[i].size)
		if err != nil {
			return 0, nil, err
		}
		size, err := deltaResult(delta)
		if err == nil {
			data, err = applyDelta(data, delta, size)
		}
		if err != nil {
			return 0, nil, err
		}
		if i > 0 || final == kindTree {
			s.bases.put(p, chain[i].off, final, data)
		}
	}
	if int64(len(data)) > max {
		return 0, nil, tooLarge("bytes:", int64(len(data)), max)
	}
	return final, data, nil
}

func (s *store) baseOf(p *pack, k kind, off int64, at *section) (int64, error) {
	if k == kindOfsDelta {
		back, err := readBackOffset(at)
		return off - back, err
	}
	var id object.ID
	if _, err := io.ReadFull(at, id[:]); err != nil {
		return 0, badPack(err, "delta base")
	}
	base, ok := p.index.find(id)
	if !ok {
		return 0, fmt.Errorf("%w: delta base %v", ErrMissing, id)
	}
	return base, nil
}

// checkResult looks at the head of a delta alone for the size it would yield.
func (s *store) checkResult(at *section, size, max int64) error {
	ahead := *at
	head, err := s.zlib.some(&ahead, min(size, 16))
	if err != nil {
		return err
	}
	result, err := deltaResult(head)
	if err == nil && result > max {
		err = tooLarge("bytes:", result, max)
	}
	return err
}

// all inflates an object of known size.
func (z *inflater) all(src io.Reader, size int64) ([]byte, error) {
	out, err := z.some(src, size)
	if err != nil {
		return nil, err
	}
	return out, z.finish()
}

func (z *inflater) some(src io.Reader, size int64) ([]byte, error) {
	if err := z.reset(src); err != nil {
		return nil, badPack(err, "compressed data")
	}
	out := make([]byte, size)
	if _, err := io.ReadFull(z, out); err != nil {
		return nil, badPack(err, "compressed data")
	}
	return out, nil
}

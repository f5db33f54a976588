package gitrepo

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
)

// FileEntry is one file, symbolic link or submodule of a tree.
type FileEntry struct {
	ID   object.ID
	Mode uint32
}

// Tree lists everything in a commit's tree by path. A malformed directory
// anywhere in it is an error: who vouches for the whole must be able to read
// the whole.
func (r *Repo) Tree(ctx context.Context, commit string) (map[string]FileEntry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, err := object.ParseID(commit)
	if err != nil {
		return nil, err
	}
	head, err := r.header(id)
	if err != nil {
		return nil, fmt.Errorf("reading the tree of %s: %w", gitindex.Short(commit), err)
	}
	files := map[string]FileEntry{}
	if err := r.list(ctx, head.tree, "", files); err != nil {
		return nil, fmt.Errorf("reading the tree of %s: %w", gitindex.Short(commit), err)
	}
	return files, nil
}

func (r *Repo) list(ctx context.Context, tree object.ID, prefix string, files map[string]FileEntry) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d, err := r.directory(tree)
	if err != nil {
		return err
	}
	if d.malformed != nil {
		return inDirectory(prefix, d.malformed)
	}
	if err := checkDepth(prefix); err != nil {
		return err
	}
	for _, e := range d.entries {
		if e.IsTree() {
			if err := r.list(ctx, e.ID, prefix+e.Name+"/", files); err != nil {
				return err
			}
			continue
		}
		if files[prefix+e.Name] = (FileEntry{e.ID, e.Mode}); int64(len(files)) > r.limits.Objects {
			// One small tree that names another twice, and so on, lists
			// billions of files.
			return tooLarge("files: more than", r.limits.Objects, r.limits.Objects)
		}
	}
	return nil
}

func inDirectory(prefix string, err error) error {
	if prefix == "" {
		return err
	}
	return fmt.Errorf("in directory %s: %w", gitindex.Clean(strings.TrimSuffix(prefix, "/"), 200), err)
}

// maxPath bounds paths, and with them the depth of directories.
const maxPath = 4096

func checkDepth(prefix string) error {
	if len(prefix) > maxPath {
		return tooLarge("bytes of a path:", int64(len(prefix)), maxPath)
	}
	return nil
}

// differ fills in what a step changed.
func (r *Repo) differ(step *Step, old, new object.ID) error {
	d := differ{repo: r, step: step}
	return d.tree("", []object.ID{old}, new)
}

type differ struct {
	repo *Repo
	step *Step
}

// tree compares a directory with what it was. Old is a set, since a malformed
// parent directory may hold a name twice: whatever was there under any of them
// is not this commit's doing. Zero means no directory.
func (d *differ) tree(prefix string, old []object.ID, new object.ID) error {
	for _, o := range old {
		if o == new {
			return nil
		}
	}
	if err := checkDepth(prefix); err != nil {
		return err
	}
	if int64(len(d.step.Changes)) > d.repo.limits.Objects {
		return tooLarge("changes: more than", d.repo.limits.Objects, d.repo.limits.Objects)
	}
	now, err := d.repo.directory(new)
	if err != nil {
		return err
	}
	if now.malformed != nil && d.step.Malformed == nil {
		d.step.Malformed = inDirectory(prefix, now.malformed)
	}
	was := &directory{}
	for i, o := range old {
		each, err := d.repo.directory(o)
		if err != nil {
			return err
		}
		if i == 0 {
			was = each
			continue
		}
		was = was.with(each)
	}
	if was.malformed != nil || now.malformed != nil {
		return d.odd(prefix, was.entries, now.entries)
	}
	return d.merge(prefix, was.entries, now.entries)
}

// merge walks two well-formed directories side by side, in git's order.
func (d *differ) merge(prefix string, was, now []object.Entry) error {
	for len(was) > 0 || len(now) > 0 {
		var err error
		switch c := compareEntries(was, now); {
		case c < 0:
			err = d.entry(prefix, was[:1], nil)
			was = was[1:]
		case c > 0:
			err = d.entry(prefix, nil, &now[0])
			now = now[1:]
		default:
			if was[0].ID != now[0].ID || was[0].Mode != now[0].Mode {
				err = d.entry(prefix, was[:1], &now[0])
			}
			was, now = was[1:], now[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// odd compares directories of which one is malformed, by name and nature.
func (d *differ) odd(prefix string, was, now []object.Entry) error {
	type key struct {
		name string
		tree bool
	}
	before := map[key][]object.Entry{}
	for _, e := range was {
		k := key{e.Name, e.IsTree()}
		before[k] = append(before[k], e)
	}
	done := map[key]bool{}
	for i := range now {
		k := key{now[i].Name, now[i].IsTree()}
		if done[k] {
			continue // a name twice: the first counts, as it does for git
		}
		done[k] = true
		if err := d.entry(prefix, before[k], &now[i]); err != nil {
			return err
		}
	}
	for _, e := range was {
		k := key{e.Name, e.IsTree()}
		if done[k] {
			continue
		}
		done[k] = true
		if err := d.entry(prefix, []object.Entry{e}, nil); err != nil {
			return err
		}
	}
	return nil
}

// entry records what became of one name that is a directory on both sides or a
// file on both sides, where it is there at all.
func (d *differ) entry(prefix string, was []object.Entry, now *object.Entry) error {
	if len(was) > 0 && was[0].IsTree() || now != nil && now.IsTree() {
		var old []object.ID
		name := ""
		for _, e := range was {
			old, name = append(old, e.ID), e.Name
		}
		new := object.ID{}
		if now != nil {
			new, name = now.ID, now.Name
		}
		if old == nil {
			old = []object.ID{{}}
		}
		return d.tree(prefix+name+"/", old, new)
	}
	for i := range was {
		if now != nil && was[i].ID == now.ID && was[i].Mode == now.Mode {
			return nil
		}
	}
	c := Change{}
	if len(was) > 0 {
		c = Change{Path: prefix + was[0].Name, Old: was[0].ID, Mode: was[0].Mode}
	}
	if now != nil {
		c.Path, c.New, c.Mode = prefix+now.Name, now.ID, now.Mode
	}
	d.step.Changes = append(d.step.Changes, c)
	return nil
}

// compareEntries is git's order: by name, directories as if they ended in "/".
// A list that is at its end comes last.
func compareEntries(a, b []object.Entry) int {
	if len(a) == 0 {
		return 1
	}
	if len(b) == 0 {
		return -1
	}
	x, y := &a[0], &b[0]
	n := min(len(x.Name), len(y.Name))
	if c := strings.Compare(x.Name[:n], y.Name[:n]); c != 0 {
		return c
	}
	return int(byteAfter(x, n)) - int(byteAfter(y, n))
}

func byteAfter(e *object.Entry, n int) byte {
	if n < len(e.Name) {
		return e.Name[n]
	}
	if e.IsTree() {
		return '/'
	}
	return 0
}

// directory is one tree object, decoded.
type directory struct {
	entries   []object.Entry
	malformed error // the strict parser refused it; entries are then what git would see
}

func (d *directory) with(more *directory) *directory {
	out := &directory{malformed: d.malformed, entries: append(append([]object.Entry(nil), d.entries...), more.entries...)}
	if out.malformed == nil {
		out.malformed = fmt.Errorf("%w: a directory twice", object.ErrMalformed)
	}
	return out
}

// directory reads a tree object through the cache. The zero id is an empty one.
func (r *Repo) directory(id object.ID) (*directory, error) {
	if id.IsZero() {
		return &directory{}, nil
	}
	if d := r.trees.get(id); d != nil {
		return d, nil
	}
	raw, err := r.store.tree(id)
	if err != nil {
		return nil, err
	}
	d := &directory{}
	d.entries, d.malformed = readTree(raw)
	r.trees.put(id, d)
	return d, nil
}

// readTree reads a tree strictly, and if that is refused as git would.
func readTree(raw []byte) ([]object.Entry, error) {
	entries, err := object.ParseTree(raw)
	if err != nil {
		entries = lenientTree(raw)
	}
	// Git writes 100664 as 100644 at the next opportunity. That must not look
	// like a change of whoever had the opportunity.
	for i := range entries {
		if entries[i].Mode == object.ModeLegacyFile {
			entries[i].Mode = object.ModeFile
		}
	}
	return entries, err
}

// lenientTree reads what git would check out of a malformed tree, as far as it
// goes. It exists so that what an untrusted commit smuggled in is known as that
// commit's work; nothing is ever declared by it.
func lenientTree(raw []byte) (entries []object.Entry) {
	for len(raw) > 0 {
		mode, rest, ok := bytes.Cut(raw, []byte(" "))
		end := bytes.IndexByte(rest, 0)
		if !ok || end < 0 || len(rest) < end+21 {
			return entries
		}
		e := object.Entry{Mode: lenientMode(mode), Name: string(rest[:end])}
		copy(e.ID[:], rest[end+1:])
		raw = rest[end+21:]
		if e.Mode != 0 && !e.ID.IsZero() && plainName(e.Name) {
			entries = append(entries, e)
		}
	}
	return entries
}

func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.EqualFold(name, ".git") && !strings.Contains(name, "/")
}

// lenientMode maps any mode to the one git would write in its place.
func lenientMode(text []byte) uint32 {
	var m uint32
	for _, c := range text {
		if c < '0' || c > '7' || m > 0o7777777 {
			return 0
		}
		m = m<<3 | uint32(c-'0')
	}
	switch {
	case m&0o170000 == 0o100000 && m&0o100 != 0:
		return object.ModeExecutable
	case m&0o170000 == 0o100000:
		return object.ModeFile
	case m&0o170000 == 0o120000:
		return object.ModeSymlink
	case m&0o170000 == 0o040000:
		return object.ModeTree
	}
	return object.ModeGitlink
}

// treeCache keeps decoded directories in two generations, like baseCache.
type treeCache struct {
	young, old map[object.ID]*directory
	entries    int
}

// treeEntries bounds one generation: about 25 MiB of entries.
const treeEntries = 400_000

func newTreeCache() *treeCache { return &treeCache{young: map[object.ID]*directory{}} }

func (c *treeCache) get(id object.ID) *directory {
	if d, ok := c.young[id]; ok {
		return d
	}
	d := c.old[id]
	if d != nil {
		c.put(id, d)
	}
	return d
}

func (c *treeCache) put(id object.ID, d *directory) {
	if c.entries+len(d.entries)+1 > treeEntries {
		c.young, c.old, c.entries = map[object.ID]*directory{}, c.young, 0
	}
	c.young[id] = d
	c.entries += len(d.entries) + 1
}

// Package gitserver is a Git server in the test's own process: smart HTTP and
// HTTPS over git http-backend, SSH over git upload-pack, and a repository that
// makes signed commits fast. It listens on 127.0.0.1 only and is for tests and
// the demo; nothing in it is meant to stand in front of real users.
package gitserver

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// Repo is a bare repository that is written to in process: no git program runs
// for a commit, so thousands take seconds. It is safe for several goroutines.
type Repo struct {
	Dir string

	mu    sync.Mutex
	roots map[string]*node // of the commits made here, by id
	clock time.Time
	batch *batch
}

// CommitOptions say what one commit is. The zero value is an empty, unsigned
// commit on main.
type CommitOptions struct {
	Files  map[string]string // content by path, written over what the first parent has
	Delete []string          // paths taken away
	Modes  map[string]uint32 // of Files; 0o100644 unless given. 0o120000: the content is the target
	Links  map[string]string // submodules: commit id by path
	Tree   string            // id of a whole tree, in place of all the above

	Message           string
	Author, Committer gitindex.Person // Ada Example unless given
	When              time.Time       // one second after the last commit unless given
	Signer            Signer          // nil: unsigned

	Ref     string   // "refs/heads/main" unless given; moved to the commit
	Parents []string // what Ref points to unless given; an empty non-nil slice makes a root
}

// NewRepo creates an empty bare repository.
func NewRepo(dir string) (*Repo, error) {
	for _, sub := range []string{"objects/pack", "objects/info", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{
		"HEAD":   "ref: refs/heads/main\n",
		"config": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return &Repo{Dir: dir, roots: map[string]*node{}, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
}

// MainRef is the ref commits go to unless they say otherwise.
const MainRef = "refs/heads/main"

// Commit makes one commit, moves its ref there, and returns its id.
func (r *Repo) Commit(o CommitOptions) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.Ref == "" {
		o.Ref = MainRef
	}
	if o.Parents == nil {
		if tip := r.ref(o.Ref); tip != "" {
			o.Parents = []string{tip}
		}
	}
	tree, root, err := r.tree(o)
	if err != nil {
		return "", err
	}
	raw, err := r.raw(o, tree)
	if err != nil {
		return "", err
	}
	id, err := r.write("commit", raw)
	if err != nil {
		return "", err
	}
	if root != nil {
		r.roots[id] = root
	}
	return id, r.setRef(o.Ref, id)
}

func (r *Repo) tree(o CommitOptions) (string, *node, error) {
	if o.Tree != "" {
		return o.Tree, nil, nil
	}
	root := &node{}
	if len(o.Parents) > 0 {
		parent, err := r.root(o.Parents[0])
		if err != nil {
			return "", nil, err
		}
		root = parent
	}
	for _, path := range o.Delete {
		root = root.without(strings.Split(path, "/"))
	}
	for path, id := range o.Links {
		root = root.with(strings.Split(path, "/"), entry{mode: 0o160000, id: id})
	}
	for path, content := range o.Files {
		id, err := r.write("blob", []byte(content))
		if err != nil {
			return "", nil, err
		}
		mode := o.Modes[path]
		if mode == 0 {
			mode = 0o100644
		}
		root = root.with(strings.Split(path, "/"), entry{mode: mode, id: id})
	}
	id, err := root.write(r)
	return id, root, err
}

// raw writes the commit object, with its signature where git puts it.
func (r *Repo) raw(o CommitOptions, tree string) ([]byte, error) {
	if o.When.IsZero() {
		r.clock = r.clock.Add(time.Second)
		o.When = r.clock
	}
	var head, tail strings.Builder
	fmt.Fprintf(&head, "tree %s\n", tree)
	for _, p := range o.Parents {
		fmt.Fprintf(&head, "parent %s\n", p)
	}
	fmt.Fprintf(&head, "author %s\ncommitter %s\n", person(o.Author, o.When), person(o.Committer, o.When))
	fmt.Fprintf(&tail, "\n%s", o.Message)
	if !strings.HasSuffix(o.Message, "\n") {
		tail.WriteString("\n")
	}
	if o.Signer == nil {
		return []byte(head.String() + tail.String()), nil
	}
	armor, err := o.Signer.Sign([]byte(head.String() + tail.String()))
	if err != nil {
		return nil, fmt.Errorf("signing a commit: %w", err)
	}
	folded := strings.ReplaceAll(strings.TrimRight(string(armor), "\n"), "\n", "\n ")
	return []byte(head.String() + "gpgsig " + folded + "\n" + tail.String()), nil
}

func person(p gitindex.Person, when time.Time) string {
	if p.Name == "" && p.Email == "" {
		p.Name, p.Email = "Ada Example", "ada@example.org"
	}
	if !p.When.IsZero() {
		when = p.When
	}
	return fmt.Sprintf("%s <%s> %d %s", p.Name, p.Email, when.Unix(), when.Format("-0700"))
}

// Tag makes an annotated tag, signed if there is a signer, and its ref.
func (r *Repo) Tag(name, commit string, signer Signer) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(time.Second)
	raw := fmt.Sprintf("object %s\ntype commit\ntag %s\ntagger %s\n\n%s\n", commit, name, person(gitindex.Person{}, r.clock), name)
	if signer != nil {
		armor, err := signer.Sign([]byte(raw))
		if err != nil {
			return "", fmt.Errorf("signing a tag: %w", err)
		}
		raw += string(armor)
	}
	id, err := r.write("tag", []byte(raw))
	if err != nil {
		return "", err
	}
	return id, r.setRef("refs/tags/"+name, id)
}

// Object writes any object as it is, well-formed or not, and returns its id.
func (r *Repo) Object(kind string, raw []byte) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.write(kind, raw)
}

// SetRef points a ref to an object, whatever it pointed to before.
func (r *Repo) SetRef(name, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.setRef(name, id)
}

// Ref tells what a ref points to; empty if there is none.
func (r *Repo) Ref(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ref(name)
}

func (r *Repo) setRef(name, id string) error {
	if r.batch != nil {
		r.batch.refs[name] = id
		return nil
	}
	file := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".lock", []byte(id+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".lock", file)
}

func (r *Repo) ref(name string) string {
	if r.batch != nil && r.batch.refs[name] != "" {
		return r.batch.refs[name]
	}
	text, err := os.ReadFile(filepath.Join(r.Dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Git runs git in the repository, for whatever this package does not do, and
// returns what it prints.
func (r *Repo) Git(args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"--git-dir", r.Dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, stderr.String())
	}
	return string(out), nil
}

// write stores one object: loose, or in the pack of the batch.
func (r *Repo) write(kind string, raw []byte) (string, error) {
	head := kind + " " + strconv.Itoa(len(raw)) + "\x00"
	h := sha1.New()
	h.Write([]byte(head))
	h.Write(raw)
	id := hex.EncodeToString(h.Sum(nil))
	if r.batch != nil {
		return id, r.batch.add(kind, id, raw)
	}
	file := filepath.Join(r.Dir, "objects", id[:2], id[2:])
	if _, err := os.Stat(file); err == nil {
		return id, nil
	}
	var b bytes.Buffer
	z, _ := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	z.Write([]byte(head))
	z.Write(raw)
	z.Close()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	return id, os.WriteFile(file, b.Bytes(), 0o444)
}

// Batch collects everything that f commits into one pack, for histories of
// thousands of commits. The commits are visible when it returns.
func (r *Repo) Batch(f func() error) error {
	b := &batch{refs: map[string]string{}, have: map[string]bool{}}
	b.zlib, _ = zlib.NewWriterLevel(&b.pack, zlib.BestSpeed)
	r.mu.Lock()
	r.batch = b
	r.mu.Unlock()
	err := f()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batch = nil
	if err != nil {
		return err
	}
	if err := b.finish(r.Dir); err != nil {
		return err
	}
	for name, id := range b.refs {
		if err := r.setRef(name, id); err != nil {
			return err
		}
	}
	return nil
}

type batch struct {
	refs map[string]string
	have map[string]bool
	pack bytes.Buffer
	zlib *zlib.Writer
}

func (b *batch) add(kind, id string, raw []byte) error {
	if b.have[id] {
		return nil
	}
	b.have[id] = true
	b.pack.Write(packEntry(kind, len(raw)))
	b.zlib.Reset(&b.pack)
	if _, err := b.zlib.Write(raw); err != nil {
		return err
	}
	return b.zlib.Close()
}

func (b *batch) finish(dir string) error {
	if len(b.have) == 0 {
		return nil
	}
	data := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(b.have)))
	data = append(data, b.pack.Bytes()...)
	sum := sha1.Sum(data)
	cmd := exec.Command("git", "--git-dir", dir, "index-pack", "--stdin")
	cmd.Stdin = bytes.NewReader(append(data, sum[:]...))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git index-pack: %w: %s", err, out)
	}
	return nil
}

// packEntry is the header of one object in a pack.
func packEntry(kind string, size int) []byte {
	c := map[string]byte{"commit": 1, "tree": 2, "blob": 3, "tag": 4}[kind]<<4 | byte(size&15)
	var out []byte
	for size >>= 4; size > 0; size >>= 7 {
		out = append(out, c|0x80)
		c = byte(size & 0x7f)
	}
	return append(out, c)
}

// node is one directory. It never changes: with and without copy what they
// change, so that all commits share the rest.
type node struct {
	entries map[string]entry
	id      string // once written
}

type entry struct {
	mode uint32
	id   string
	dir  *node
}

func (n *node) copy() *node {
	out := &node{entries: make(map[string]entry, len(n.entries)+1)}
	for name, e := range n.entries {
		out.entries[name] = e
	}
	return out
}

func (n *node) with(path []string, e entry) *node {
	out := n.copy()
	if len(path) == 1 {
		out.entries[path[0]] = e
		return out
	}
	dir := out.entries[path[0]].dir
	if dir == nil {
		dir = &node{}
	}
	out.entries[path[0]] = entry{mode: 0o40000, dir: dir.with(path[1:], e)}
	return out
}

func (n *node) without(path []string) *node {
	e, ok := n.entries[path[0]]
	if !ok {
		return n
	}
	out := n.copy()
	if len(path) > 1 && e.dir != nil {
		if e.dir = e.dir.without(path[1:]); len(e.dir.entries) > 0 {
			out.entries[path[0]] = e
			return out
		}
	}
	delete(out.entries, path[0])
	return out
}

func (n *node) write(r *Repo) (string, error) {
	if n.id != "" {
		return n.id, nil
	}
	names := make([]string, 0, len(n.entries))
	for name, e := range n.entries {
		if e.dir != nil {
			name += "/" // git's order
		}
		names = append(names, name)
	}
	sort.Strings(names)
	var raw []byte
	for _, name := range names {
		name = strings.TrimSuffix(name, "/")
		e := n.entries[name]
		if e.dir != nil {
			id, err := e.dir.write(r)
			if err != nil {
				return "", err
			}
			e.id = id
		}
		id, err := hex.DecodeString(e.id)
		if err != nil {
			return "", err
		}
		raw = append(fmt.Appendf(raw, "%o %s\x00", e.mode, name), id...)
	}
	id, err := r.write("tree", raw)
	n.id = id
	return id, err
}

// root finds the tree of a parent: remembered, or read with git.
func (r *Repo) root(commit string) (*node, error) {
	if n := r.roots[commit]; n != nil {
		return n, nil
	}
	if r.batch != nil {
		return nil, errors.New("in a batch, the first parent must have been made by Commit with files")
	}
	out, err := r.Git("ls-tree", "-r", "-z", commit)
	if err != nil {
		return nil, err
	}
	n := &node{}
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		meta, path, ok := strings.Cut(line, "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 3 {
			continue
		}
		mode, err := strconv.ParseUint(fields[0], 8, 32)
		if err != nil {
			return nil, err
		}
		n = n.with(strings.Split(path, "/"), entry{mode: uint32(mode), id: fields[2]})
	}
	r.roots[commit] = n
	return n, nil
}

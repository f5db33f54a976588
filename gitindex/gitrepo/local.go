package gitrepo

import (
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/gitward/gitward/gitindex/object"
)

// local is a repository on this machine. It is read through go-git, and never
// by running git: git would execute what the repository's configuration says.
type local struct {
	path string
}

func (l local) dial(_ context.Context, r *Repo) (source, error) {
	dir, err := gitDir(l.path)
	if err != nil {
		return nil, err
	}
	if err := checkLocalFormat(dir); err != nil {
		return nil, err
	}
	storage := filesystem.NewStorageWithOptions(osfs.New(dir, osfs.WithBoundOS()), cache.NewObjectLRU(64*cache.MiByte),
		filesystem.Options{KeepDescriptors: true, AlternatesFS: osfs.New("/", osfs.WithBoundOS())})
	return &localSource{storage: storage, limits: r.limits, here: r.store}, nil
}

// gitDir finds the repository behind a path: bare, with a .git directory, or
// with a .git file that names one.
func gitDir(path string) (string, error) {
	dot := filepath.Join(path, ".git")
	info, err := os.Stat(dot)
	switch {
	case err == nil && info.IsDir():
		path = dot
	case err == nil:
		text, err := os.ReadFile(dot)
		if err != nil {
			return "", err
		}
		to := strings.TrimSpace(strings.TrimPrefix(string(text), "gitdir:"))
		if !filepath.IsAbs(to) {
			to = filepath.Join(path, to)
		}
		path = to
	}
	if _, err := os.Stat(filepath.Join(path, "objects")); err != nil {
		return "", fmt.Errorf("%w: no Git repository at %s", ErrNoRef, path)
	}
	return path, nil
}

// checkLocalFormat names the formats that go-git would stumble over.
func checkLocalFormat(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(strings.ToLower(string(text))) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "objectformat" && value != "sha1" || key == "refstorage" && value != "files" {
			return fmt.Errorf("%w: %s = %s", ErrUnsupported, key, value)
		}
	}
	return nil
}

type localSource struct {
	storage *filesystem.Storage
	limits  Limits
	here    *store
}

func (l *localSource) close() error { return l.storage.Close() }

func (l *localSource) resolve(_ context.Context, ref Ref) (object.ID, error) {
	if ref.Commit != "" {
		return object.ParseID(ref.Commit)
	}
	refs := map[string]object.ID{}
	if ref.SemVer == "" {
		r, err := storer.ResolveReference(l.storage, plumbing.ReferenceName(ref.name()))
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			return object.ID{}, fmt.Errorf("%w: %v", ErrNoRef, ref)
		}
		if err != nil {
			return object.ID{}, err
		}
		return object.ID(r.Hash()), nil
	}
	iter, err := l.storage.IterReferences()
	if err != nil {
		return object.ID{}, err
	}
	err = iter.ForEach(func(r *plumbing.Reference) error {
		refs[r.Name().String()] = object.ID(r.Hash())
		return nil
	})
	if err != nil {
		return object.ID{}, err
	}
	return ref.choose(refs)
}

// pack copies what is reachable from want and not here yet. The way in is the
// same as from a server: one pack, scanned, hashed and counted.
func (l *localSource) pack(ctx context.Context, ask request, to io.Writer) ([]object.ID, error) {
	cut, err := l.storage.Shallow()
	if err != nil {
		return nil, err
	}
	shallow := map[object.ID]bool{}
	var list []object.ID
	for _, h := range cut {
		shallow[object.ID(h)] = true
		list = append(list, object.ID(h))
	}
	ids, err := l.reachable(ctx, ask.want, shallow)
	if err != nil {
		return nil, err
	}
	return list, l.write(ctx, ids, to)
}

// reachable lists objects that are not here. It stops at what is here, for
// whatever is in the store came with all that is behind it.
func (l *localSource) reachable(ctx context.Context, want object.ID, shallow map[object.ID]bool) ([]object.ID, error) {
	seen := map[object.ID]bool{want: true}
	todo := []object.ID{want}
	var out []object.ID
	add := func(id object.ID) {
		if !seen[id] && !l.here.has(id) {
			seen[id] = true
			todo = append(todo, id)
		}
	}
	for len(todo) > 0 {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if out = append(out, id); int64(len(out)) > l.limits.Objects {
			return nil, tooLarge("objects: more than", l.limits.Objects, l.limits.Objects)
		}
		if err := l.follow(id, shallow[id], add); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// follow adds what one object refers to.
func (l *localSource) follow(id object.ID, cut bool, add func(object.ID)) error {
	obj, err := l.storage.EncodedObject(plumbing.AnyObject, plumbing.Hash(id))
	if err != nil {
		return fmt.Errorf("%w: %v: %w", ErrMissing, id, err)
	}
	if obj.Type() == plumbing.BlobObject {
		return nil
	}
	raw, err := readAll(obj)
	if err != nil {
		return err
	}
	switch obj.Type() {
	case plumbing.TagObject:
		first, _, _ := strings.Cut(string(raw), "\n")
		to, err := object.ParseID(strings.TrimPrefix(first, "object "))
		if err != nil {
			return err
		}
		add(to)
	case plumbing.CommitObject:
		head, err := readHeader(raw)
		if err != nil {
			return err
		}
		add(head.tree)
		if !cut {
			for _, parent := range head.parents {
				add(parent)
			}
		}
	case plumbing.TreeObject:
		entries, _ := readTree(raw)
		for _, e := range entries {
			if !e.IsGitlink() {
				add(e.ID)
			}
		}
	}
	return nil
}

func readAll(obj plumbing.EncodedObject) ([]byte, error) {
	r, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// write makes a pack of whole objects.
func (l *localSource) write(ctx context.Context, ids []object.ID, to io.Writer) error {
	sum := sha1.New()
	out := io.MultiWriter(to, sum)
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(ids)))
	if _, err := out.Write(head); err != nil {
		return err
	}
	z, err := zlib.NewWriterLevel(out, zlib.BestSpeed)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := l.writeObject(out, z, id); err != nil {
			return err
		}
	}
	_, err = to.Write(sum.Sum(nil))
	return err
}

func (l *localSource) writeObject(out io.Writer, z *zlib.Writer, id object.ID) error {
	obj, err := l.storage.EncodedObject(plumbing.AnyObject, plumbing.Hash(id))
	if err != nil {
		return fmt.Errorf("%w: %v: %w", ErrMissing, id, err)
	}
	raw, err := readAll(obj)
	if err != nil {
		return err
	}
	if _, err := out.Write(entryHeader(kind(obj.Type()), int64(len(raw)))); err != nil {
		return err
	}
	z.Reset(out)
	if _, err := z.Write(raw); err != nil {
		return err
	}
	return z.Close()
}

// entryHeader is what readEntryHeader reads.
func entryHeader(k kind, size int64) []byte {
	c := byte(k)<<4 | byte(size&15)
	out := []byte{}
	for size >>= 4; size > 0; size >>= 7 {
		out = append(out, c|0x80)
		c = byte(size & 0x7f)
	}
	return append(out, c)
}

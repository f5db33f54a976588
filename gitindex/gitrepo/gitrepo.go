// Package gitrepo answers one question: what did the tracked ref hold, commit
// by commit?
//
// It fetches one ref of one repository into packs of its own on disk, walks
// the first-parent history, and builds from it the trusted tree (see
// Timeline). It never checks anything out, never runs a git program, and
// never asks the index or the signatures: it hands out raw commit bytes, and
// others judge them.
//
// Everything that comes from a server is hostile. Every stream is capped,
// every pack is scanned for its sizes before anything is built from it, and
// every object's id is computed here, with SHA-1 collision detection.
package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gitward/gitward/gitindex/object"
)

// Repo is one tracked ref and the objects behind it, in a directory laid out
// as a bare Git repository, so that git itself can look into it. It is safe
// for several goroutines: each method holds the Repo to itself.
type Repo struct {
	mu     sync.Mutex
	dir    string
	remote Remote
	target target
	limits Limits
	store  *store
	trees  *treeCache
	reach  ancestry
	held   object.ID // what the tracked ref held at the last fetch: a commit or a tag
}

// trackedRef keeps what the last fetch found. It is a private name, so that no
// ref of the server can ever be taken for it.
const trackedRef = "refs/gitward/tracked"

// Open opens or creates the storage in dir. It does not speak to the remote,
// but it refuses a remote that could never be fetched.
func Open(dir string, remote Remote, limits Limits) (*Repo, error) {
	target, err := remote.target()
	if err != nil {
		return nil, err
	}
	store, err := openStore(dir, limits.orDefault())
	if err != nil {
		return nil, fmt.Errorf("opening the storage of %v: %w", remote, err)
	}
	r := &Repo{dir: dir, remote: remote, target: target, limits: limits.orDefault(), store: store, trees: newTreeCache()}
	text, err := os.ReadFile(filepath.Join(dir, trackedRef))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// A ref that does not parse, or whose object is gone, is as good as none:
	// the next fetch brings everything again.
	if id, err := object.ParseID(strings.TrimSpace(string(text))); err == nil && store.has(id) {
		r.held = id
	}
	return r, nil
}

// Close releases the files. The Repo must not be used afterwards.
func (r *Repo) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.store.close()
}

// Fetch brings the commits that the tracked ref has and this Repo lacks, and
// returns the commit the ref points to now. An unchanged ref costs one look at
// the server's refs. The tip's objects are here afterwards even if the ref was
// moved by force: the caller learns that from Walk and decides.
func (r *Repo) Fetch(ctx context.Context) (tip string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.remote.timeout())
	defer cancel()
	id, err := r.fetch(ctx)
	if err == nil {
		id, err = r.peel(id)
	}
	if err != nil {
		// A deadline shows up as whatever call it interrupted; say what it was.
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w (%v)", ctx.Err(), err)
		}
		return "", fmt.Errorf("fetching %v: %w", r.remote, err)
	}
	return id.String(), nil
}

func (r *Repo) fetch(ctx context.Context) (object.ID, error) {
	if id, err := object.ParseID(r.remote.Ref.Commit); err == nil && r.store.has(id) {
		return id, nil // a commit never changes: nothing to ask
	}
	source, err := r.target.dial(ctx, r)
	if err != nil {
		return object.ID{}, err
	}
	defer source.close()
	want, err := source.resolve(ctx, r.remote.Ref)
	if err != nil {
		return object.ID{}, err
	}
	if want == r.held && r.store.has(want) {
		return want, nil
	}
	if !r.store.has(want) {
		if err := r.bring(ctx, source, want); err != nil {
			return object.ID{}, err
		}
	}
	r.held = want
	return want, r.store.writeRef(trackedRef, want)
}

// bring receives a pack into a capped temporary file, scans and indexes it,
// and only then makes it part of the storage.
func (r *Repo) bring(ctx context.Context, source source, want object.ID) error {
	file, err := r.store.tempPack()
	if err != nil {
		return err
	}
	defer func() {
		file.Close()
		os.Remove(file.Name())
	}()
	shallow, err := source.pack(ctx, request{want: want, haves: r.haves()}, &cappedWriter{w: file, left: r.limits.PackBytes, limit: r.limits.PackBytes})
	if err != nil {
		return err
	}
	index, err := indexPack(ctx, file, r.limits)
	if err != nil {
		return err
	}
	if err := r.store.install(file, index, shallow); err != nil {
		return err
	}
	if !r.store.has(want) {
		return fmt.Errorf("%w: the server did not send %v", ErrMissing, want)
	}
	return nil
}

// maxHaves is how far back haves looks. A rewrite that goes back further
// brings everything again.
const maxHaves = 256

// haves names commits that the server need not send: the last tip and, in case
// it was rewritten away, ever older ones of its first-parent history.
func (r *Repo) haves() []object.ID {
	var out []object.ID
	id, err := r.peel(r.held)
	if r.held.IsZero() || err != nil {
		return nil
	}
	for step, next := 0, 0; step < maxHaves; step++ {
		raw, err := r.store.commit(id)
		if err != nil {
			break
		}
		if step == next {
			out = append(out, id)
			next = next*2 + 1
		}
		head, err := readHeader(raw)
		if err != nil || len(head.parents) == 0 {
			break
		}
		id = head.parents[0]
	}
	return out
}

// maxTagDepth bounds a tag of a tag of a tag.
const maxTagDepth = 4

// peel follows annotated tags down to the commit.
func (r *Repo) peel(id object.ID) (object.ID, error) {
	for range maxTagDepth {
		kind, raw, err := r.store.object(id)
		if err != nil {
			return object.ID{}, err
		}
		switch kind {
		case kindCommit:
			return id, nil
		case kindTag:
			first, _, _ := strings.Cut(string(raw), "\n")
			next, err := object.ParseID(strings.TrimPrefix(first, "object "))
			if err != nil {
				return object.ID{}, fmt.Errorf("%w: tag %v names no object", object.ErrMalformed, id)
			}
			id = next
		default:
			return object.ID{}, fmt.Errorf("the ref points to a %v, not to a commit", kind)
		}
	}
	return object.ID{}, fmt.Errorf("tag %v is wrapped in too many tags", id)
}

// Tag gives the annotated tag that the tracked ref held at the last fetch, as
// raw bytes; nil when the ref points to a commit directly. A tag's signature
// vouches for what it names, and nothing in a commit can replace it.
func (r *Repo) Tag() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind, raw, err := r.store.object(r.held); err == nil && kind == kindTag {
		return append([]byte(nil), raw...)
	}
	return nil
}

// Forget drops what was kept to read history fast. Nothing that is asked for
// later depends on it; the next reads are a little slower.
func (r *Repo) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store.bases = baseCache{}
	r.trees = newTreeCache()
}

// Blob is the content of one file. One larger than Limits.BlobBytes is an
// error wrapping ErrTooLarge, found before it is unpacked.
func (r *Repo) Blob(id object.ID) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind, raw, err := r.store.objectUpTo(id, r.limits.BlobBytes)
	if err != nil {
		return nil, fmt.Errorf("reading blob %v: %w", id, err)
	}
	if kind != kindBlob {
		return nil, fmt.Errorf("reading blob %v: it is a %v", id, kind)
	}
	return append([]byte(nil), raw...), nil
}

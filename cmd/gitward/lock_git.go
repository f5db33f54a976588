package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gitward/gitward/gitindex/elsewhere"
	"github.com/gitward/gitward/gitindex/gitrepo"
)

// repositories are other people's, for bases that are taken from them: the
// elsewhere.Git of this program. What is read of one stays open.
type repositories struct {
	dir         string
	credentials map[string]gitrepo.Credentials // by host, with its port if it has one

	mu   sync.Mutex
	open map[string]*repositoryTree
}

var _ elsewhere.Git = (*repositories)(nil)

// Tree fetches one ref. A name is a tag's before it is a branch's, as for git.
func (r *repositories) Tree(ctx context.Context, address, ref string) (fs.FS, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.open[address+" "+ref]; t != nil && fullID.MatchString(ref) {
		return t, t.commit, nil // a commit never changes
	}
	var refs []gitrepo.Ref
	switch {
	case ref == "":
		refs = []gitrepo.Ref{{}}
	case fullID.MatchString(ref):
		refs = []gitrepo.Ref{{Commit: ref}}
	case strings.HasPrefix(ref, "refs/"):
		refs = []gitrepo.Ref{{Name: ref}}
	default:
		refs = []gitrepo.Ref{{Tag: ref}, {Branch: ref}}
	}
	var failed error
	for _, one := range refs {
		t, err := r.fetch(ctx, gitrepo.Remote{URL: address, Ref: one, Credentials: r.credentialsFor(address)})
		if err == nil {
			if r.open == nil {
				r.open = map[string]*repositoryTree{}
			}
			r.open[address+" "+ref] = t
			return t, t.commit, nil
		}
		failed = err
		if !errors.Is(err, gitrepo.ErrNoRef) {
			break
		}
	}
	return nil, "", failed
}

func (r *repositories) credentialsFor(address string) gitrepo.Credentials {
	u, err := url.Parse(address)
	if err != nil {
		return gitrepo.Credentials{}
	}
	return r.credentials[strings.ToLower(u.Host)]
}

func (r *repositories) fetch(ctx context.Context, remote gitrepo.Remote) (*repositoryTree, error) {
	sum := sha256.Sum256([]byte(remote.String()))
	repo, err := gitrepo.Open(filepath.Join(r.dir, hex.EncodeToString(sum[:16])), remote, gitrepo.DefaultLimits())
	if err != nil {
		return nil, err
	}
	tip, err := repo.Fetch(ctx)
	var entries map[string]gitrepo.FileEntry
	if err == nil {
		entries, err = repo.Tree(ctx, tip)
	}
	if err != nil {
		return nil, errors.Join(err, repo.Close())
	}
	return newRepositoryTree(repo, tip, entries), nil
}

// Close closes what is open. The trees must not be read afterwards.
func (r *repositories) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var failed error
	for _, t := range r.open {
		failed = errors.Join(failed, t.repo.Close())
	}
	r.open = nil
	if failed != nil {
		return fmt.Errorf("closing repositories of bases: %w", failed)
	}
	return nil
}

package elsewhere

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// BaseAt is Base, until ctx ends.
func (s *Store) BaseAt(ctx context.Context, text string) (fs.FS, render.Pin, error) {
	what := "the base " + gitindex.CleanURL(text, 400)
	b, err := parseBase(text)
	if err != nil {
		return nil, render.Pin{}, fmt.Errorf("%s: %w", what, err)
	}
	locked, _ := s.Lock.Base(text)
	pin, first, err := s.pin(baseKey(text), what, b.ownPin(), locked)
	if err != nil {
		return nil, render.Pin{}, err
	}
	tree, pin, err := s.base(ctx, b, pin)
	if err == nil && first {
		err = s.FirstUse.Record(baseKey(text), pin)
	}
	if err != nil {
		return nil, render.Pin{}, explain(what, err)
	}
	return baseFS{tree, b.dir}, pin, nil
}

func baseKey(text string) string { return "base " + text }

// ownPin is what the URL itself fixes: a full commit id, or a digest.
func (b *base) ownPin() render.Pin {
	switch {
	case commitID.MatchString(b.ref):
		return render.Pin{Digest: commitPin + b.ref}
	case b.digest != "":
		return render.Pin{Digest: b.digest, Version: b.version}
	}
	return render.Pin{}
}

func (s *Store) base(ctx context.Context, b *base, pin render.Pin) (fs.FS, render.Pin, error) {
	switch {
	case b.oci != "":
		return s.archive(ctx, &request{Do: "chart", OCI: b.oci, Version: b.version, Tag: true}, pin, treeLayout)
	case b.file:
		return s.file(ctx, b, pin)
	}
	return s.tree(ctx, b, pin)
}

// file gives one file under its own name.
func (s *Store) file(ctx context.Context, b *base, pin render.Pin) (fs.FS, render.Pin, error) {
	if pin.Digest != "" && !sha256Digest.MatchString(pin.Digest) {
		return nil, render.Pin{}, badPin(pin)
	}
	r := &request{Do: "file", URL: b.text, Digest: pin.Digest}
	host, err := s.Fetcher.Hosts.ofRequest(r)
	if err != nil {
		return nil, render.Pin{}, err
	}
	got, err := s.content(ctx, r)
	if err == nil {
		err = checkSigned(host, r, got)
	}
	if err != nil {
		return nil, render.Pin{}, err
	}
	tree, err := newFiles(map[string][]byte{b.dir: got.blob})
	return tree, render.Pin{Digest: got.Digest}, err
}

// tree gives another repository's at a commit.
func (s *Store) tree(ctx context.Context, b *base, pin render.Pin) (fs.FS, render.Pin, error) {
	if s.Git == nil {
		return nil, render.Pin{}, refused("bases from other repositories are not read here")
	}
	host, err := s.Fetcher.Hosts.allow(b.host)
	if err == nil && len(host.Keys) > 0 {
		err = checkSigned(host, &request{}, nil)
	}
	if err == nil {
		err = s.Fetcher.Hosts.checkResolved(ctx, b.host)
	}
	// A name that cannot be looked up keeps nobody from what is here already.
	if err != nil && errors.Is(err, ErrRefused) {
		return nil, render.Pin{}, err
	}
	ref, fixed := b.ref, strings.TrimPrefix(pin.Digest, commitPin)
	if pin.Digest != "" {
		if ref = fixed; !commitID.MatchString(fixed) {
			return nil, render.Pin{}, badPin(pin)
		}
	}
	s.use([]string{b.host.Host})
	tree, commit, err := s.Git.Tree(ctx, b.clone, ref)
	switch {
	case err != nil:
		return nil, render.Pin{}, err
	case !commitID.MatchString(commit):
		return nil, render.Pin{}, refused("%q is no commit id", gitindex.Clean(commit, 60))
	case pin.Digest != "" && pin.Digest != commitPin+commit:
		return nil, render.Pin{}, &MismatchError{What: b.clone, Pinned: pin.Digest, Found: commitPin + commit}
	}
	return tree, render.Pin{Digest: commitPin + commit, Version: b.ref}, nil
}

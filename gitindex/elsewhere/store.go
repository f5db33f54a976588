package elsewhere

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// Git gives the tree of a repository at a ref: a branch, a tag, a full commit
// id, or "" for the default branch; and which commit that is.
type Git interface {
	Tree(ctx context.Context, url, ref string) (tree fs.FS, commit string, err error)
}

// FirstUse remembers, for good, what a reference was when it was first used.
type FirstUse interface {
	Pinned(key string) (render.Pin, bool)
	// Record keeps a pin. It returns an error if it cannot, or if another has
	// been kept for the key meanwhile; then the content is not used.
	Record(key string, pin render.Pin) error
}

// Store gives the charts and bases of one Origin. Its Chart and Base are those
// of render.Sources. It is safe for several goroutines.
type Store struct {
	Fetcher Fetcher
	Cache   *Cache // nil: nothing is kept
	Lock    *Lock  // of the trusted tree; nil: there is none
	// FirstUse, if not nil, pins what neither the reference nor the lock does.
	FirstUse FirstUse
	Git      Git // nil: no base comes from another repository

	mu    sync.Mutex
	ready map[string]*files // unpacked, by layout and digest
	size  int64
	used  map[string]bool
	away  map[string]absence // by host
}

// absence is a host that did not answer. It is left alone for a while: many
// references to it would each wait for their time to pass.
type absence struct {
	err   error
	until time.Time
}

const awayFor = 30 * time.Second

// HostsUsed are the hosts that were spoken to so far, sorted: those that an
// Origin has to allow.
func (s *Store) HostsUsed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.used))
}

func (s *Store) use(hosts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used == nil {
		s.used = map[string]bool{}
	}
	for _, h := range hosts {
		s.used[gitindex.Clean(h, 200)] = true
	}
}

// readyBytes bounds what is kept unpacked.
const readyBytes = 128 << 20

// Chart gives the unpacked chart that a reference is pinned to.
func (s *Store) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	return s.ChartAt(context.Background(), ref)
}

// Base gives a kustomize base: a render.BaseFS.
func (s *Store) Base(url string) (fs.FS, render.Pin, error) {
	return s.BaseAt(context.Background(), url)
}

// ChartAt is Chart, until ctx ends.
func (s *Store) ChartAt(ctx context.Context, ref render.ChartRef) (fs.FS, render.Pin, error) {
	what := "the chart " + ref.String()
	if err := checkRef(ref); err != nil {
		return nil, render.Pin{}, fmt.Errorf("%s: %w", what, err)
	}
	locked, _ := s.Lock.Chart(ref)
	own := render.Pin{}
	if ref.Digest != "" {
		own = render.Pin{Digest: ref.Digest, Version: ref.Version}
	}
	pin, first, err := s.pin(chartKey(ref), what, own, locked)
	if err != nil {
		return nil, render.Pin{}, err
	}
	r := chartRequest(ref)
	tree, pin, err := s.archive(ctx, r, pin, chartLayout)
	if err == nil && first {
		err = s.FirstUse.Record(chartKey(ref), pin)
	}
	if err != nil {
		return nil, render.Pin{}, explain(what, err)
	}
	return tree, pin, nil
}

func chartRequest(ref render.ChartRef) *request {
	return &request{Do: "chart", Repository: ref.Repository, OCI: ref.OCI, Name: ref.Name, Version: ref.Version}
}

// chartKey is what FirstUse knows a chart by. A digest is no part of it: what
// has one needs no record.
func chartKey(ref render.ChartRef) string {
	ref = asks(ref)
	key := "chart " + ref.OCI
	if ref.OCI == "" {
		key = "chart " + ref.Repository + " " + ref.Name
	}
	if ref.Version != "" {
		key += " " + ref.Version
	}
	return key
}

func checkRef(ref render.ChartRef) error {
	switch {
	case (ref.Repository == "") == (ref.OCI == ""):
		return refused("want a repository or an OCI reference")
	case ref.Repository != "" && ref.Name == "":
		return refused("the chart has no name")
	case ref.Digest != "" && !sha256Digest.MatchString(ref.Digest):
		return refused("the digest %q is not sha256:… of 64 hex digits", gitindex.Clean(ref.Digest, 80))
	case gitindex.Clean(chartKey(ref), 4096) != chartKey(ref):
		return refused("the reference has control characters or is too long")
	}
	if ref.OCI != "" {
		_, _, err := parseOCI(ref.OCI)
		return err
	}
	_, err := parseURL(ref.Repository)
	return err
}

// pin says what a reference is pinned to: by itself, by the lock, or by its
// first use. An empty pin with first set means that this is the first use.
func (s *Store) pin(key, what string, own, locked render.Pin) (pin render.Pin, first bool, err error) {
	for _, p := range []render.Pin{own, locked} {
		if p.Digest != "" {
			return p, false, nil
		}
	}
	if s.FirstUse == nil {
		return render.Pin{}, false, &render.NeedsError{What: what, Why: "nothing in Git says which content that is", Do: doLock}
	}
	pin, known := s.FirstUse.Pinned(key)
	if known && pin.Digest == "" {
		return render.Pin{}, false, refused("%s is recorded without a digest", what)
	}
	return pin, !known, nil
}

// badPin: a lock or a status that somebody wrote by hand, for something else.
func badPin(pin render.Pin) error {
	return refused("it is pinned to %q, which cannot be the digest of such a thing", gitindex.Clean(pin.Digest, 80))
}

const doLock = `run "gitward lock" and commit ` + LockPath

// explain says what people can do about an error, where there is something.
func explain(what string, err error) error {
	var host *notAllowed
	if errors.As(err, &host) {
		return &render.NeedsError{What: what, Why: gitindex.Clean(err.Error(), 300), Do: "add the host to the Origin, or take the content from another"}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// archive gives an unpacked archive at its pin, and the pin it has if it had
// none. What is kept counts if it is allowed from its host still.
func (s *Store) archive(ctx context.Context, r *request, pin render.Pin, as layout) (*files, render.Pin, error) {
	host, err := s.Fetcher.Hosts.ofRequest(r)
	if err != nil {
		return nil, render.Pin{}, err
	}
	if pin.Digest != "" && !sha256Digest.MatchString(pin.Digest) {
		return nil, render.Pin{}, badPin(pin)
	}
	r.Digest, r.Signatures = pin.Digest, len(host.Keys) > 0
	if pin.Digest != "" {
		r.Version = pin.Version
	}
	got, err := s.content(ctx, r)
	if err != nil {
		return nil, render.Pin{}, err
	}
	if err := checkSigned(host, r, got); err != nil {
		return nil, render.Pin{}, err
	}
	if pin.Digest == "" {
		pin = render.Pin{Digest: got.Digest, Version: got.Version}
	}
	tree, err := s.unpacked(ctx, got, as)
	return tree, pin, err
}

// ofRequest is the entry of the list for the place that a request begins at.
func (h Hosts) ofRequest(r *request) (Host, error) {
	u, err := r.begins()
	if err != nil {
		return Host{}, err
	}
	return h.allow(u)
}

// begins is the first place that is asked.
func (r *request) begins() (*url.URL, error) {
	switch {
	case r.OCI != "":
		host, _, err := parseOCI(r.OCI)
		return &url.URL{Scheme: "https", Host: host}, err
	case r.URL != "":
		return parseURL(r.URL)
	}
	return parseURL(r.Repository)
}

func checkSigned(host Host, r *request, got *fetched) error {
	if len(host.Keys) == 0 {
		return nil
	}
	if r.OCI == "" {
		return refused("a signature is demanded of what %s serves, and only OCI content can have one that is checked", gitindex.Clean(host.Name, 200))
	}
	keys, err := parseKeys(host.Keys)
	if err != nil {
		return err
	}
	if !signed(got.Digest, got.Signatures, keys) {
		return refused("no signature by a key of %s fits %s (of %d there)", gitindex.Clean(host.Name, 200), got.Digest, len(got.Signatures))
	}
	return nil
}

// content takes what is kept, or fetches it and keeps it.
func (s *Store) content(ctx context.Context, r *request) (*fetched, error) {
	if got := s.kept(r); got != nil {
		return got, nil
	}
	at, err := r.begins()
	if err != nil {
		return nil, err
	}
	if err := s.absent(at.Host); err != nil {
		return nil, err
	}
	got, err := s.Fetcher.fetch(ctx, r)
	if err != nil {
		if away(err) && ctx.Err() == nil { // and nobody has lost patience
			s.leave(at.Host, err)
		}
		return nil, err
	}
	s.use(got.Hosts)
	return got, s.keep(r, got)
}

func (s *Store) absent(host string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.away[host]; time.Now().Before(a.until) {
		return a.err
	}
	return nil
}

func (s *Store) leave(host string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away == nil {
		s.away = map[string]absence{}
	}
	s.away[host] = absence{err, time.Now().Add(awayFor)}
}

func (s *Store) kept(r *request) *fetched {
	content, ok := s.Cache.read(r.Digest)
	if !ok {
		return nil
	}
	got := &fetched{Digest: r.Digest, Version: r.Version, blob: content}
	if r.OCI == "" {
		return got
	}
	got.Manifest = content
	layer, err := contentLayer(content)
	if err != nil {
		return nil
	}
	if got.blob, ok = s.Cache.read(layer); !ok {
		return nil
	}
	if !r.Signatures {
		return got
	}
	text, ok := s.Cache.readBeside(r.Digest, "signatures")
	if !ok || json.Unmarshal(text, &got.Signatures) != nil {
		return nil
	}
	return got
}

func (s *Store) keep(r *request, got *fetched) error {
	if err := s.Cache.write(digestOf(got.blob), got.blob); err != nil || r.OCI == "" {
		return err
	}
	if err := s.Cache.write(got.Digest, got.Manifest); err != nil || len(got.Signatures) == 0 {
		return err
	}
	text, err := json.Marshal(got.Signatures)
	if err != nil {
		return err
	}
	return s.Cache.writeBeside(got.Digest, "signatures", text)
}

// unpacked unpacks an archive once.
func (s *Store) unpacked(ctx context.Context, got *fetched, as layout) (*files, error) {
	key := string(as) + " " + digestOf(got.blob)
	s.mu.Lock()
	known := s.ready[key]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := s.Fetcher.unpack(ctx, got.blob, as)
	if err != nil {
		return nil, fmt.Errorf("unpacking it: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size+made.size > readyBytes || s.ready == nil {
		s.ready, s.size = map[string]*files{}, 0
	}
	s.ready[key] = made
	s.size += made.size
	return made, nil
}

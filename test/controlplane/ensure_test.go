package controlplane

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testWorkshop builds in no time: a file for each program.
func testWorkshop(t *testing.T, mode string) (*workshop, *atomic.Int32) {
	t.Helper()
	var builds atomic.Int32
	return &workshop{
		mode:  mode,
		cache: t.TempDir(),
		index: "http://127.0.0.1:1/nothing-listens-here",
		make: func(_ context.Context, _ io.Writer, dir string) error {
			builds.Add(1)
			return writePrograms(dir, allPrograms)
		},
	}, &builds
}

func writePrograms(dir string, names []string) error {
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/true "+name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func TestEnsureOrder(t *testing.T) {
	s, builds := testWorkshop(t, "off")
	ctx := t.Context()
	if _, err := s.ensure(ctx, nil, allPrograms); err == nil || !strings.Contains(err.Error(), "GITWARD_CONTROLPLANE=off") {
		t.Errorf("off, with nothing there: %v", err)
	}
	s.mode = "auto"
	for i, want := range []string{"a build", "the cache"} {
		found, err := s.ensure(ctx, nil, allPrograms)
		if err != nil || !strings.HasPrefix(found.Source, want) {
			t.Errorf("call %d: from %s (%v), want %s", i, found.Source, err, want)
		}
	}
	s.mode = "off"
	if _, err := s.ensure(ctx, nil, allPrograms); err != nil {
		t.Errorf("off, with a cache: %v", err)
	}
	s.assets = t.TempDir()
	var told bytes.Buffer
	found, err := s.ensure(ctx, &told, allPrograms)
	if err != nil || !strings.HasPrefix(found.Source, "the cache") || !strings.Contains(told.String(), "has no etcd") {
		t.Errorf("empty assets: from %s (%v), told %q", found.Source, err, told.String())
	}
	if err := writePrograms(s.assets, allPrograms); err != nil {
		t.Fatal(err)
	}
	found, err = s.ensure(ctx, nil, allPrograms)
	if err != nil || found.Path(Etcd) != filepath.Join(s.assets, Etcd) {
		t.Errorf("assets: %v (%v)", found, err)
	}
	if builds.Load() != 1 {
		t.Errorf("%d builds, want 1", builds.Load())
	}
}

func TestEnsureFromEnvironment(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("KUBEBUILDER_ASSETS", "")
	t.Setenv("GITWARD_CONTROLPLANE", "off")
	if _, err := Ensure(t.Context(), nil); err == nil {
		t.Error("an empty cache served")
	}
	t.Setenv("GITWARD_CONTROLPLANE", "perhaps")
	if _, err := Ensure(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "perhaps") {
		t.Errorf("an unknown mode: %v", err)
	}
	dir := t.TempDir()
	if err := writePrograms(dir, allPrograms); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	t.Setenv("GITWARD_CONTROLPLANE", "")
	found, err := Ensure(t.Context(), nil)
	if err != nil || found.Dir != dir {
		t.Errorf("%v (%v), want %s", found, err, dir)
	}
}

// A flipped bit keeps the size: only the checksum tells.
func TestCacheIsVerified(t *testing.T) {
	s, builds := testWorkshop(t, "auto")
	if _, err := s.ensure(t.Context(), nil, allPrograms); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.builtDir(), APIServer)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[3] ^= 1
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ensure(t.Context(), nil, allPrograms); err != nil || builds.Load() != 1 {
		t.Errorf("by size alone: %d builds (%v), want 1", builds.Load(), err)
	}
	s.verify = true
	var told bytes.Buffer
	if _, err := s.ensure(t.Context(), &told, allPrograms); err != nil || builds.Load() != 2 {
		t.Errorf("by checksum: %d builds (%v), want another", builds.Load(), err)
	}
	if !strings.Contains(told.String(), "SHA-256") {
		t.Errorf("nobody was told: %q", told.String())
	}
	s.verify = false
	if err := os.WriteFile(path, text[:5], 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ensure(t.Context(), nil, allPrograms); err != nil || builds.Load() != 3 {
		t.Errorf("cut short: %d builds (%v), want another", builds.Load(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.mode = "off"
	if _, err := s.ensure(t.Context(), nil, allPrograms); err == nil {
		t.Error("a cache without its API server served")
	}
}

// A build that fails leaves nothing that looks like a cache.
func TestFailedBuildLeavesNothing(t *testing.T) {
	s, _ := testWorkshop(t, "build")
	s.make = func(_ context.Context, _ io.Writer, dir string) error {
		return errors.Join(writePrograms(dir, allPrograms[:1]), errors.New("disk full"))
	}
	if _, err := s.ensure(t.Context(), nil, allPrograms); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error %v, want disk full", err)
	}
	left, err := filepath.Glob(filepath.Join(s.cache, "controlplane", "*"))
	hidden, _ := filepath.Glob(filepath.Join(s.cache, "controlplane", ".new-*"))
	if err != nil || len(left)+len(hidden) != 0 {
		t.Errorf("left %v %v (%v)", left, hidden, err)
	}
}

// Ten test packages start at once: one builds, nine wait and are told so once.
func TestOneBuildForAll(t *testing.T) {
	s, builds := testWorkshop(t, "build")
	quick := s.make
	s.make = func(ctx context.Context, w io.Writer, dir string) error {
		time.Sleep(300 * time.Millisecond)
		return quick(ctx, w, dir)
	}
	var told [10]bytes.Buffer
	var all sync.WaitGroup
	for i := range told {
		all.Go(func() {
			if _, err := s.ensure(t.Context(), &told[i], allPrograms); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	waits := 0
	for i := range told {
		waits += strings.Count(told[i].String(), "waiting for that to finish")
	}
	if builds.Load() != 1 || waits != 9 {
		t.Errorf("%d builds and %d waits, want 1 and 9", builds.Load(), waits)
	}
}

func TestLockCanBeGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), io.Discard, path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, io.Discard, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held: %v", err)
	}
	unlock()
	again, err := lock(t.Context(), io.Discard, path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// archiveServer serves an index with one archive, as envtest's does.
func archiveServer(t *testing.T, version, hash string) *httptest.Server {
	t.Helper()
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	files := tar.NewWriter(zipped)
	for _, name := range []string{"controller-tools/envtest/etcd", "controller-tools/envtest/kube-apiserver", "../../kubectl"} {
		if err := files.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: 4}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(files, "text")
	}
	if err := errors.Join(files.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	if hash == "" {
		sum := sha512.Sum512(archive.Bytes())
		hash = hex.EncodeToString(sum[:])
	}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/archive" {
			w.Write(archive.Bytes())
			return
		}
		fmt.Fprintf(w, "releases:\n  v1.2.3: {}\n  %s:\n    %s:\n      hash: %s\n      selfLink: %s/archive\n",
			version, archiveName(version), hash, server.URL)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestDownload(t *testing.T) {
	s, builds := testWorkshop(t, "download")
	version := minorOf(kubernetesModule.version()) + ".0"
	s.index = archiveServer(t, version, "").URL
	found, err := s.ensure(t.Context(), nil, justServers)
	if err != nil || !strings.HasPrefix(found.Source, "a download of "+version) {
		t.Fatalf("from %q (%v)", found.Source, err)
	}
	if entries, _ := os.ReadDir(found.Dir); len(entries) != 3 {
		t.Errorf("%v, want etcd, kube-apiserver and the manifest", entries)
	}
	s.mode = "off"
	if found, err = s.ensure(t.Context(), nil, justServers); err != nil || !strings.HasPrefix(found.Source, "the cache") {
		t.Errorf("again: from %q (%v), want the cache", found.Source, err)
	}
	s.mode = "download"
	if _, err := s.ensure(t.Context(), nil, allPrograms); err == nil || !strings.Contains(err.Error(), "hold no kube-controller-manager") {
		t.Errorf("with a controller manager: %v", err)
	}
	s.mode = "auto"
	if found, err = s.ensure(t.Context(), nil, allPrograms); err != nil || builds.Load() != 1 {
		t.Errorf("auto: from %q (%v), want a build", found.Source, err)
	}
}

func TestDownloadIsVerified(t *testing.T) {
	s, builds := testWorkshop(t, "auto")
	s.index = archiveServer(t, minorOf(kubernetesModule.version())+".0", strings.Repeat("0", 128)).URL
	if _, err := s.ensure(t.Context(), nil, justServers); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("another archive than the index names: %v", err)
	}
	if builds.Load() != 0 {
		t.Error("a forged download was passed over in silence")
	}
}

// Without a network the build must not wait for one.
func TestNoNetworkIsQuick(t *testing.T) {
	s, builds := testWorkshop(t, "auto")
	began := time.Now()
	if _, err := s.ensure(t.Context(), nil, justServers); err != nil || builds.Load() != 1 {
		t.Errorf("%d builds (%v)", builds.Load(), err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestBuildEnvironment(t *testing.T) {
	got := buildEnv([]string{"HOME=/h", "GOFLAGS=-race", "CGO_ENABLED=1", "GOARCH=mips", "GOWORK=/w"})
	want := []string{"HOME=/h", "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Other flags would miss the build cache of everyone, so they are held here.
func TestFlagsStayAsTheyAre(t *testing.T) {
	want := "-s -w"
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		want += fmt.Sprintf(" -X %[1]s.gitVersion=v1.37.2 -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=37 -X %[1]s.gitTreeState=clean -X %[1]s.buildDate=1970-01-01T00:00:00Z", pkg)
	}
	if got := kubernetesFlags(); got != want {
		t.Errorf("flags\n%s\nwant\n%s", got, want)
	}
	if got := etcdModule.version(); got != "v3.7.3" {
		t.Errorf("etcd %s", got)
	}
}

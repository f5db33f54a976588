package controller

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/elsewhere"
	"github.com/gitward/gitward/gitindex/render"
)

// chartServer is a Helm repository with one chart, whose content may change.
type chartServer struct {
	*httptest.Server
	mu      sync.Mutex
	archive []byte
	asked   int
}

func newChartServer(t *testing.T) *chartServer {
	c := &chartServer{}
	c.set(t, "one")
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		if strings.HasSuffix(r.URL.Path, "index.yaml") {
			fmt.Fprintf(w, "apiVersion: v1\nentries:\n  redis:\n    - {name: redis, version: 1.0.0, digest: %s, urls: [redis-1.0.0.tgz]}\n", c.digest()[7:])
			return
		}
		_, _ = w.Write(c.archive)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *chartServer) digest() string {
	sum := sha256.Sum256(c.archive)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (c *chartServer) set(t *testing.T, value string) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range [][2]string{
		{"redis/Chart.yaml", "apiVersion: v2\nname: redis\nversion: 1.0.0\n"},
		{"redis/templates/cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-cm}\ndata: {value: " + value + "}\n"},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(f[1]))
	}
	w.Close()
	z.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.archive = b.Bytes()
}

func (c *chartServer) fetching(t *testing.T) *Fetching {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(c.URL, "http://")
	return &Fetching{Command: []string{exe, asFetcher}, Cache: &elsewhere.Cache{Dir: t.TempDir()},
		Hosts: elsewhere.Hosts{{Name: host, Private: true, InsecureHTTP: true}}}
}

func (c *chartServer) release() string {
	return `apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: charts, namespace: shop}
spec: {interval: 1h, url: '` + c.URL + `'}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cache, namespace: shop}
spec:
  interval: 1h
  chart: {spec: {chart: redis, version: 1.x, sourceRef: {kind: HelmRepository, name: charts}}}
`
}

func (c *chartServer) lock() string {
	l := &elsewhere.Lock{Charts: []elsewhere.LockedChart{{Repository: c.URL, Name: "redis", Version: "1.x", Resolved: "1.0.0", Digest: c.digest()}}}
	return l.String()
}

func TestPinnedByLock(t *testing.T) {
	w, _ := renderScene(t)
	c := newChartServer(t)
	w.settings.Fetching = c.fetching(t)
	w.commit(w.ada, map[string]string{"release.yaml": c.release()})
	s := w.sync()
	if w.from(s, "cache-cm") != "" || !strings.Contains(fmt.Sprint(s.Problems), "gitward lock") {
		t.Fatalf("an unpinned chart is rendered, or not named: %v", s.Problems)
	}
	if c.asked > 0 {
		t.Error("a chart that nothing pins was fetched")
	}
	w.commit(w.alien, map[string]string{elsewhere.LockPath: "# mine\n" + c.lock()})
	if s = w.sync(); w.from(s, "cache-cm") != "" {
		t.Error("a stranger's lock counts")
	}
	locked := w.commit(w.ada, map[string]string{elsewhere.LockPath: c.lock()})
	s = w.sync()
	w.want(s, "cache-cm", locked)
	if t.Failed() {
		t.Fatal(s.Problems)
	}
	m := s.Lookup(shopOf("cache-cm")).Current[0]
	if m.Level != gitindex.Pinned || m.Applier == nil || m.Applier.HelmRelease != "cache" {
		t.Errorf("the object is %s of %+v", m.Level, m.Applier)
	}
	c.set(t, "two")
	w.commit(w.ada, map[string]string{"README.md": "x"})
	w.want(w.sync(), "cache-cm", locked)
	// Without the cache, what is served no longer fits the pin.
	w.settings.Fetching = c.fetching(t)
	w.tracker.Close()
	w.settings.Dir = t.TempDir()
	w.open()
	s = w.sync()
	if w.from(s, "cache-cm") != "" || !strings.Contains(fmt.Sprint(s.Problems), "pinned to sha256:") {
		t.Errorf("another content than the pinned is rendered, or not named: %v", s.Problems)
	}
	relocked := w.commit(w.ben, map[string]string{elsewhere.LockPath: c.lock()})
	w.want(w.sync(), "cache-cm", relocked)
	w.commit(w.ben, map[string]string{elsewhere.LockPath: "apiVersion: gitward.dev/v1alpha1\nkind: Lock\nsurprise: 1\n"})
	if s = w.sync(); w.from(s, "cache-cm") != "" || !strings.Contains(fmt.Sprint(s.Problems), elsewhere.LockPath) {
		t.Errorf("a broken lock file is not named: %v", s.Problems)
	}
}

func TestPinnedByFirstUse(t *testing.T) {
	w, _ := renderScene(t)
	c := newChartServer(t)
	w.settings.Fetching = c.fetching(t)
	w.settings.Fetching.FirstUse = &FirstUse{}
	first := w.commit(w.ada, map[string]string{"release.yaml": c.release()})
	s := w.sync()
	w.want(s, "cache-cm", first)
	pins := w.settings.Fetching.FirstUse.Status()
	if len(pins) != 1 || pins[0].Digest != c.digest() || pins[0].Version != "1.0.0" {
		t.Fatalf("pins: %v", pins)
	}
	c.set(t, "two")
	w.commit(w.ada, map[string]string{"README.md": "x"})
	s = w.sync()
	w.want(s, "cache-cm", first)
	if strings.Contains(string(s.Lookup(shopOf("cache-cm")).Current[0].Raw), "two") {
		t.Error("what is pinned by its first use followed the server")
	}
	// The status remembers; taking the pin away makes the next use the first.
	again := &FirstUse{}
	again.Load(pins)
	if err := again.Record(pins[0].Reference, render.Pin{Digest: c.digest()}); err == nil {
		t.Error("a pin was changed silently")
	}
	again.Load(nil)
	if len(again.Status()) != 0 {
		t.Error("a pin that was taken away stays")
	}
}

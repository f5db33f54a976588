package elsewhere

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex/render"
)

const childArgument = "be-the-child"

// TestMain is the child too: the tests fetch as the product does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		if len(os.Environ()) > 0 {
			fmt.Fprintln(os.Stderr, "the child has an environment")
			os.Exit(2)
		}
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// host is a server of anything, over TLS, that notes what it is asked.
type host struct {
	*httptest.Server
	name  string
	ca    []byte
	mu    sync.Mutex
	seen  []*http.Request
	paths map[string]http.HandlerFunc
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{paths: map[string]http.HandlerFunc{}}
	h.Server = httptest.NewUnstartedServer(h)
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	h.name = strings.TrimPrefix(h.URL, "https://")
	h.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	return h
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.seen = append(h.seen, r)
	do := h.paths[r.URL.Path]
	h.mu.Unlock()
	if do == nil {
		http.NotFound(w, r)
		return
	}
	do(w, r)
}

func (h *host) put(path string, data []byte) {
	h.on(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
}

func (h *host) on(path string, do http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paths[path] = do
}

// asked is how often a path was asked for.
func (h *host) asked(path string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.seen {
		if r.URL.Path == path {
			n++
		}
	}
	return n
}

func (h *host) authorizations() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.seen {
		all = append(all, r.Header.Get("Authorization"))
	}
	return all
}

// entry allows the host, which stands on this machine.
func (h *host) entry() Host { return Host{Name: h.name, Private: true, CA: h.ca} }

// index is that of the host's Helm repository.
func (h *host) index(t testing.TB, chart string, list ...release) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nentries:\n  other:\n  - version: 9.9.9\n    urls: [nowhere.tgz]\n  %s:\n", chart)
	for _, r := range list {
		fmt.Fprintf(&b, "  - apiVersion: v2\n    description: |\n      What it\n      does: all\n    digest: %s\n    name: %s\n    urls:\n    - %s\n    version: %s\n", r.Digest, chart, r.URLs[0], r.Version)
	}
	b.WriteString("  zebra:\n  - version: 1.0.0\ngenerated: \"2026-01-01T00:00:00Z\"\n")
	h.put("/index.yaml", []byte(b.String()))
}

type entry struct {
	name, text string
	kind       byte
}

// tgz packs entries as they are given, however odd.
func tgz(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.text)), Typeflag: tar.TypeReg}
		if e.kind != 0 {
			header.Typeflag, header.Linkname, header.Size = e.kind, e.text, 0
			e.text = ""
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// chartOf is an archive of a chart of this version.
func chartOf(t testing.TB, version string) []byte {
	return tgz(t, entry{name: "redis/Chart.yaml", text: "apiVersion: v2\nname: redis\nversion: " + version + "\n"},
		entry{name: "redis/templates/all.yaml", text: "\xef\xbb\xbfkind: ConfigMap\n"})
}

// publish puts versions of the chart redis into the host's repository.
func (h *host) publish(t testing.TB, versions ...string) {
	var list []release
	for _, v := range versions {
		data := chartOf(t, v)
		h.put("/redis-"+v+".tgz", data)
		list = append(list, release{Version: v, URLs: []string{"redis-" + v + ".tgz"}, Digest: strings.TrimPrefix(digestOf(data), "sha256:")})
	}
	h.index(t, "redis", list...)
}

func (h *host) redis(version string) render.ChartRef {
	return render.ChartRef{Repository: h.URL, Name: "redis", Version: version}
}

// store fetches from the hosts, and keeps what it fetches.
func store(t testing.TB, hosts ...Host) *Store {
	t.Helper()
	if err := Hosts(hosts).Check(); err != nil {
		t.Fatal(err)
	}
	return &Store{Fetcher: Fetcher{Command: []string{os.Args[0], childArgument}, Hosts: hosts, Limits: Limits{Time: 20 * time.Second}}, Cache: &Cache{Dir: t.TempDir()}}
}

// firstUse is a map, which is what an Origin's status is.
type firstUse map[string]render.Pin

func (f firstUse) Pinned(key string) (render.Pin, bool) { p, ok := f[key]; return p, ok }
func (f firstUse) Record(key string, pin render.Pin) error {
	if old, ok := f[key]; ok && old != pin {
		return fmt.Errorf("%s is pinned to %s already", key, old.Digest)
	}
	f[key] = pin
	return nil
}

// must gives a chart's files.
func must(t testing.TB, s *Store, ref render.ChartRef) (fs.FS, render.Pin) {
	t.Helper()
	tree, pin, err := s.Chart(ref)
	if err != nil {
		t.Fatal(err)
	}
	return tree, pin
}

func mustSay(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

// oci is a registry in the host, of the distribution specification.
type oci struct {
	*host
	name   string
	token  string // wanted for everything, if set
	realm  string
	blobAt string // blobs are on another host
}

func newOCI(t testing.TB, name string) *oci {
	o := &oci{host: newHost(t), name: name}
	return o
}

func (o *oci) guard(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if o.token != "" && r.Header.Get("Authorization") != "Bearer "+o.token {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+o.realm+`",service="reg",scope="repository:`+o.name+`:pull,push"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		do(w, r)
	}
}

func (o *oci) blob(data []byte) string {
	digest := digestOf(data)
	o.on("/v2/"+o.name+"/blobs/"+digest, o.guard(func(w http.ResponseWriter, r *http.Request) {
		if o.blobAt != "" {
			http.Redirect(w, r, o.blobAt, http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write(data)
	}))
	return digest
}

func (o *oci) manifest(t testing.TB, tag string, config string, layers ...layer) string {
	t.Helper()
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "config": map[string]any{"mediaType": config}, "layers": layers})
	if err != nil {
		t.Fatal(err)
	}
	serve := o.guard(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(r.Header["Accept"], ociManifest) {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		_, _ = w.Write(data)
	})
	o.on("/v2/"+o.name+"/manifests/"+tag, serve)
	o.on("/v2/"+o.name+"/manifests/"+digestOf(data), serve)
	return digestOf(data)
}

func (o *oci) push(t testing.TB, tag string, archive []byte) string {
	return o.manifest(t, tag, "application/vnd.cncf.helm.config.v1+json", layer{MediaType: helmLayer, Digest: o.blob(archive)})
}

// list answers with one tag a page.
func (o *oci) list(tags ...string) {
	path := "/v2/" + o.name + "/tags/list"
	o.on(path, o.guard(func(w http.ResponseWriter, r *http.Request) {
		at := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("last"), &at)
		if at+1 < len(tags) {
			w.Header().Set("Link", fmt.Sprintf(`<%s?n=1&last=%d>; rel="next"`, path, at+1))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": o.name, "tags": tags[at : at+1]})
	}))
}

func (o *oci) ref(version string) render.ChartRef {
	return render.ChartRef{OCI: "oci://" + o.host.name + "/" + o.name, Name: "redis", Version: version}
}

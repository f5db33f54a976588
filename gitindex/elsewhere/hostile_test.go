package elsewhere

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// simple is the client that one writes first: it follows every redirect, and
// says where it was about to connect to.
func simple(dialled *[]string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			*dialled = append(*dialled, addr)
			if strings.HasPrefix(addr, "169.254.") {
				return nil, errors.New("not in a test")
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}}
}

// TestRedirects: a repository has Gitward speak to what stands beside it.
func TestRedirects(t *testing.T) {
	h, inner := newHost(t), newHost(t)
	inner.put("/secret", []byte("entries: {}"))
	_, port, _ := net.SplitHostPort(inner.name)
	for name, test := range map[string]struct{ to, say string }{
		"metadata":         {"http://169.254.169.254/latest/meta-data/", "from https to http"},
		"metadata, https":  {"https://169.254.169.254/latest/meta-data/", "link-local"},
		"loopback":         {inner.URL + "/secret", "not one that the Origin allows"},
		"loopback by name": {"https://localhost:" + port + "/secret", "a private one, and the host is not marked"},
		"loopback, IPv6":   {"https://[::1]:" + port + "/secret", "a private one, and the host is not marked"},
		"mapped":           {"https://[::ffff:127.0.0.1]:" + port + "/secret", "a private one, and the host is not marked"},
		"plain http":       {strings.Replace(h.URL, "https", "http", 1) + "/x", "from https to http"},
		"a file":           {"file:///etc/passwd", "from https to file"},
		"round and round":  {h.URL + "/index.yaml", "without end"},
		"a user":           {"https://ada@localhost:" + port + "/secret", "a user in the URL"},
	} {
		t.Run(name, func(t *testing.T) {
			h.on("/index.yaml", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, test.to, http.StatusFound) })
			if strings.HasPrefix(test.to, "http") && !strings.Contains(test.to, "[") {
				var dialled []string
				if res, err := simple(&dialled).Get(h.URL + "/index.yaml"); err == nil {
					res.Body.Close()
				}
				to, _ := url.Parse(test.to)
				if last := dialled[len(dialled)-1]; !strings.HasPrefix(last, to.Hostname()) {
					t.Fatalf("the simple client dials %q: the test does not bite", dialled)
				}
			}
			before := len(inner.seen)
			s := store(t, h.entry(), Host{Name: "localhost:" + port}, Host{Name: "[::1]:" + port}, Host{Name: "[::ffff:127.0.0.1]:" + port}, Host{Name: "169.254.169.254", Private: true, InsecureHTTP: true})
			s.FirstUse = firstUse{}
			_, _, err := s.Chart(h.redis("1.0.0"))
			mustSay(t, err, test.say)
			if len(inner.seen) != before {
				t.Error("what stands beside it was asked")
			}
		})
	}
}

// TestURLsInTheIndex are as good as redirects.
func TestURLsInTheIndex(t *testing.T) {
	h, inner := newHost(t), newHost(t)
	inner.put("/c.tgz", chartOf(t, "1.0.0"))
	for to, say := range map[string]string{
		inner.URL + "/c.tgz":          "not one that the Origin allows",
		"http://169.254.169.254/x":    "not one that the Origin allows",
		"file:///etc/passwd":          `scheme "file"`,
		"gopher://" + h.name:          `scheme "gopher"`,
		"//" + inner.name + "/c.tgz":  "not one that the Origin allows",
		"https://ada:pw@" + h.name:    "a user in the URL",
		"http://" + h.name + "/c.tgz": "plain http",
	} {
		h.index(t, "redis", release{Version: "1.0.0", URLs: []string{to}, Digest: `""`})
		s := store(t, h.entry())
		s.FirstUse = firstUse{}
		_, _, err := s.Chart(h.redis("1.0.0"))
		mustSay(t, err, say)
		if strings.Contains(err.Error(), "pw") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
	if len(inner.seen) > 0 {
		t.Error("another host was asked")
	}
	// Where the other host is on the list, all is well.
	h.index(t, "redis", release{Version: "1.0.0", URLs: []string{inner.URL + "/c.tgz"}, Digest: `""`})
	s := store(t, h.entry(), inner.entry())
	s.FirstUse = firstUse{}
	must(t, s, h.redis("1.0.0"))
}

// TestCredentialsStay with their host: net/http takes two ports of one machine
// for one host, and a subdomain for its parent.
func TestCredentialsStay(t *testing.T) {
	h, thief := newHost(t), newHost(t)
	thief.put("/stolen", []byte("entries: {}"))
	h.on("/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+"/stolen", http.StatusFound)
	})

	var dialled []string
	req, _ := http.NewRequest(http.MethodGet, h.URL+"/index.yaml", nil)
	req.SetBasicAuth("ada", "pw-s3cret")
	if res, err := simple(&dialled).Do(req); err != nil {
		t.Fatal(err)
	} else {
		res.Body.Close()
	}
	if got := thief.authorizations(); len(got) != 1 || got[0] != basic("ada", "pw-s3cret") {
		t.Fatalf("the simple client gives away %q: the test does not bite", got)
	}
	entry := h.entry()
	entry.Credentials = Credentials{"ada", "pw-s3cret"}
	s := store(t, entry, thief.entry())
	s.FirstUse = firstUse{}
	_, _, err := s.Chart(h.redis("1.0.0"))
	mustSay(t, err, `no chart "redis"`)
	if got := thief.authorizations(); len(got) != 2 || got[1] != "" {
		t.Errorf("the other host sees %q", got[1:])
	}
	if got := h.authorizations(); got[len(got)-1] != basic("ada", "pw-s3cret") {
		t.Errorf("the host itself sees %q", got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, entry); strings.Contains(text, "s3cret") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
	// Nor do they go over plain http.
	plain := entry
	plain.InsecureHTTP = true
	c := newClient(Hosts{plain}, Limits{}.orDefaults())
	c.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "" {
			t.Error("credentials over plain http")
		}
		return nil, errors.New("no further")
	})
	_, err = c.ask(t.Context(), question{url: &url.URL{Scheme: "http", Host: h.name}})
	mustSay(t, err, "no further")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRealmOfAThief: a registry that was taken over sends for a token to where
// the credentials would be read.
func TestRealmOfAThief(t *testing.T) {
	o, thief := newOCI(t, "charts/redis"), newHost(t)
	o.token, o.realm = "t0ken", thief.URL+"/token"
	o.push(t, "1.0.0", chartOf(t, "1.0.0"))
	thief.put("/token", []byte(`{"token":"guess"}`))
	entry := o.entry()
	entry.Credentials = Credentials{"ada", "pw-s3cret"}
	for _, hosts := range [][]Host{{entry}, {entry, thief.entry()}} {
		s := store(t, hosts...)
		s.FirstUse = firstUse{}
		if _, _, err := s.Chart(o.ref("1.0.0")); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
	for _, a := range thief.authorizations() {
		if a != "" {
			t.Errorf("the thief sees %q", a)
		}
	}
}

// bomb is an archive of few bytes with a file of many.
func bomb(t testing.TB, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "redis/Chart.yaml", Size: size, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestHostileArchives: what an archive must not be able to do.
func TestHostileArchives(t *testing.T) {
	good := entry{name: "redis/Chart.yaml", text: "name: redis"}
	many := make([]entry, 10_001)
	for i := range many {
		many[i] = entry{name: fmt.Sprintf("redis/%d", i)}
	}
	for name, test := range map[string]struct {
		archive []byte
		say     string
	}{
		"a bomb":           {bomb(t, 120<<20), "unpacks to more than 104857600 bytes"},
		"leads up":         {tgz(t, good, entry{name: "redis/../../../escaped", text: "x"}), "leads outside"},
		"leads up, \\":     {tgz(t, good, entry{name: `redis\..\..\..\escaped`, text: "x"}), "leads outside"},
		"absolute":         {tgz(t, good, entry{name: "/etc/passwd", text: "x"}), "leads outside"},
		"absolute, inside": {tgz(t, good, entry{name: "redis//etc/passwd", text: "x"}), "leads outside"},
		"a drive":          {tgz(t, good, entry{name: `c:\x`, text: "x"}), "two directories"},
		"a link":           {tgz(t, good, entry{name: "redis/link", text: "/etc/passwd", kind: tar.TypeSymlink}), "no regular file"},
		"a hard link":      {tgz(t, good, entry{name: "redis/link", text: "redis/Chart.yaml", kind: tar.TypeLink}), "no regular file"},
		"a device":         {tgz(t, good, entry{name: "redis/null", kind: tar.TypeChar}), "no regular file"},
		"a pipe":           {tgz(t, good, entry{name: "redis/pipe", kind: tar.TypeFifo}), "no regular file"},
		"twice":            {tgz(t, good, good), "twice"},
		"twice, ./":        {tgz(t, good, entry{name: "./redis/Chart.yaml", text: "x"}), "twice"},
		"file and dir":     {tgz(t, good, entry{name: "redis/Chart.yaml/x", text: "x"}), "a file and a directory"},
		"beside":           {tgz(t, good, entry{name: "Chart.yaml", text: "x"}), "beside the chart's directory"},
		"two charts":       {tgz(t, good, entry{name: "evil/Chart.yaml", text: "x"}), "two directories"},
		"too many":         {tgz(t, many...), "more than 10000 entries"},
		"control letters":  {tgz(t, good, entry{name: "redis/a\nb", text: "x"}), "leads outside"},
		"empty":            {tgz(t), "no files"},
		"no archive":       {[]byte("hello"), "not gzipped"},
		"cut off":          {tgz(t, good)[:60], "broken"},
		"directories only": {tgz(t, entry{name: "redis/", kind: tar.TypeDir}), "no files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store(t)
			_, err := s.Fetcher.unpack(t.Context(), test.archive, chartLayout)
			mustSay(t, err, test.say)
		})
	}
}

// TestUnpackingNaively: the two that everybody has fallen for.
func TestUnpackingNaively(t *testing.T) {
	dir := t.TempDir()
	within := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(within, 0o755); err != nil {
		t.Fatal(err)
	}
	z, _ := gzip.NewReader(bytes.NewReader(tgz(t, entry{name: "redis/../../../escaped", text: "x"})))
	r := tar.NewReader(z)
	header, err := r.Next()
	if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
		t.Fatal(err)
	}
	data, _ := io.ReadAll(r)
	if err := os.WriteFile(filepath.Join(within, header.Name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "escaped")); err != nil {
		t.Errorf("nothing escapes: the test does not bite: %v", err)
	}
	small := bomb(t, 120<<20)
	z, _ = gzip.NewReader(bytes.NewReader(small))
	if n, err := io.Copy(io.Discard, z); err != nil || n < 120<<20 || len(small) > 1<<20 {
		t.Errorf("%d bytes become %d (%v): the test does not bite", len(small), n, err)
	}
}

// TestHugeIndex: one that is 200 MB, with and without saying so.
func TestHugeIndex(t *testing.T) {
	h := newHost(t)
	var sent atomic.Int64
	line := []byte("  - description: " + strings.Repeat("x", 1000) + "\n")
	for _, length := range map[string]string{"it says so": "200000000", "it does not": ""} {
		h.on("/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			for n := 0; n < 200_000_000; n += len(line) {
				if _, err := w.Write(line); err != nil {
					return
				}
				sent.Add(int64(len(line)))
			}
		})
		var dialled []string
		res, err := simple(&dialled).Get(h.URL + "/index.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := io.CopyN(io.Discard, res.Body, 100<<20); n < 100<<20 {
			t.Fatalf("the simple client takes %d bytes: the test does not bite", n)
		}
		res.Body.Close()
		sent.Store(0)
		s := store(t, h.entry())
		s.FirstUse = firstUse{}
		_, _, err = s.Chart(h.redis("1.0.0"))
		mustSay(t, err, "the limit of 67108864")
		if sent.Load() > 80_000_000 {
			t.Errorf("%d bytes were taken", sent.Load())
		}
	}
}

// TestLargeIndex is as large as real ones are: it has to work.
func TestLargeIndex(t *testing.T) {
	h := newHost(t)
	chart := chartOf(t, "1.0.0")
	h.put("/redis.tgz", chart)
	var b bytes.Buffer
	b.WriteString("apiVersion: v1\nentries:\n")
	for i := range 500 {
		name := fmt.Sprintf("chart-%03d", i)
		if i == 250 {
			name = "redis"
		}
		fmt.Fprintf(&b, "  %s:\n", name)
		for v := range 200 {
			fmt.Fprintf(&b, "  - annotations:\n      images: |\n%s    created: \"2026-01-01T00:00:00Z\"\n    name: %s\n    urls:\n    - redis.tgz\n    version: 0.%d.0\n",
				strings.Repeat("        - name: something\n          image: docker.io/acme/something:1.2.3\n", 5), name, v)
		}
	}
	if b.Len() < 40<<20 || b.Len() > 64<<20 {
		t.Fatalf("the index is %d bytes", b.Len())
	}
	h.put("/index.yaml", b.Bytes())
	s := store(t, h.entry())
	s.FirstUse = firstUse{}
	s.Fetcher.Limits.Memory = 400 << 20
	began := time.Now()
	if _, pin := must(t, s, h.redis("0.x")); pin.Version != "0.199.0" {
		t.Errorf("%v", pin)
	}
	t.Logf("an index of %d MiB: %v", b.Len()>>20, time.Since(began))
}

// TestSlowServer: one that never ends, a byte at a time, or never begins.
func TestSlowServer(t *testing.T) {
	h := newHost(t)
	stop := make(chan struct{})
	defer close(stop)
	for name, first := range map[string]string{"never begins": "", "never ends": "x"} {
		h.on("/index.yaml", func(w http.ResponseWriter, r *http.Request) {
			for {
				select {
				case <-stop:
					return
				case <-r.Context().Done():
					return
				case <-time.After(50 * time.Millisecond):
				}
				if first != "" {
					_, _ = io.WriteString(w, first)
					_ = http.NewResponseController(w).Flush()
				}
			}
		})
		s := store(t, h.entry())
		s.FirstUse = firstUse{}
		s.Fetcher.Limits.Time = time.Second
		began := time.Now()
		_, _, err := s.Chart(h.redis("1.0.0"))
		mustSay(t, err, "deadline exceeded")
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		// The next to ask does not wait as long.
		asked := h.asked("/index.yaml")
		_, _, err = s.Chart(h.redis("2.0.0"))
		mustSay(t, err, "deadline exceeded")
		if h.asked("/index.yaml") != asked {
			t.Errorf("%s: it is asked again at once", name)
		}
	}
	// Whoever asked may lose patience sooner.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s := store(t, h.entry())
	s.FirstUse = firstUse{}
	began := time.Now()
	_, _, err := s.ChartAt(ctx, h.redis("1.0.0"))
	mustSay(t, err, "deadline exceeded")
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestTagsElsewhere: neither the next page of tags nor one without end.
func TestTagsElsewhere(t *testing.T) {
	o, other := newOCI(t, "charts/redis"), newHost(t)
	path := "/v2/charts/redis/tags/list"
	for next, say := range map[string]string{other.URL + path: "the next page of tags is elsewhere", "http://" + o.host.name + path: "elsewhere", path: "more than 50000 tags"} {
		o.on(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "<"+next+`>; rel="next"`)
			fmt.Fprint(w, `{"tags":["1.0.0"]}`)
		})
		s := store(t, o.entry(), other.entry())
		s.FirstUse = firstUse{}
		_, _, err := s.Chart(o.ref("^2.0"))
		mustSay(t, err, say)
	}
	if len(other.seen) > 0 {
		t.Error("the other host was asked")
	}
}

// TestChildDies of its memory limit, and of what it says: neither hurts.
func TestChildDies(t *testing.T) {
	h := newHost(t)
	h.publish(t, "1.0.0")
	s := store(t, h.entry())
	s.FirstUse = firstUse{}
	s.Fetcher.Limits.Memory = 1 << 20
	_, _, err := s.Chart(h.redis("1.0.0"))
	mustSay(t, err, "the child that fetches died")
	for name, test := range map[string]struct{ script, say string }{
		"silence":       {"exit 0", "died"},
		"no JSON":       {"echo hello", "does not parse"},
		"half":          {`echo '{"size":10}'; printf abc`, "died"},
		"large":         {`echo '{"size":999999999999}'`, "larger than was asked for"},
		"negative":      {`echo '{"size":-1}'`, "larger than was asked for"},
		"without end":   {"exec cat /dev/zero", "too long"},
		"odd version":   {`echo '{"size":3,"version":"1\\u001b[2J"}'; printf abc`, "control characters"},
		"another thing": {`echo '{"size":3,"digest":"sha256:` + strings.Repeat("a", 64) + `"}'; printf abc`, "is pinned to"},
	} {
		s.Fetcher.Command = []string{"/bin/sh", "-c", "cat >/dev/null; " + test.script}
		ref := h.redis("1.0.0")
		ref.Digest = "sha256:" + strings.Repeat("a", 64)
		_, _, err := s.Chart(ref)
		if err == nil || !strings.Contains(err.Error(), test.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]struct{ public, private bool }{
		"8.8.8.8": {true, true}, "2606:4700::1111": {true, true},
		"127.0.0.1": {false, true}, "127.8.8.8": {false, true}, "10.1.2.3": {false, true}, "172.31.0.1": {false, true}, "192.168.0.1": {false, true},
		"100.64.0.1": {false, true}, "::1": {false, true}, "fd12::1": {false, true}, "::ffff:10.0.0.1": {false, true}, "198.18.0.1": {false, true},
		"169.254.169.254": {}, "::ffff:169.254.169.254": {}, "fe80::1": {}, "fe80::1%eth0": {}, "fd00:ec2::254": {}, "0.0.0.0": {}, "::": {}, "224.0.0.1": {},
		"255.255.255.255": {}, "64:ff9b::a9fe:a9fe": {}, "2002:7f00:1::": {}, "2001:0:1::": {}, "ff02::1": {}, "0.1.2.3": {}, "192.0.0.170": {},
	} {
		a := netip.MustParseAddr(text)
		if got := checkAddress(a, Host{}) == nil; got != want.public {
			t.Errorf("%s: %v", text, got)
		}
		if got := checkAddress(a, Host{Private: true}) == nil; got != want.private {
			t.Errorf("%s, private: %v", text, got)
		}
	}
}

func TestHosts(t *testing.T) {
	list := Hosts{{Name: "charts.example.org"}, {Name: "*.example.org", Private: true}, {Name: "registry.example.org:5000"}, {Name: "plain.example.net", InsecureHTTP: true},
		{Name: "*.ports.example.net:8443"}, {Name: "[2001:db8::1]:443"}}
	if err := list.Check(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"https://charts.example.org/x":         "charts.example.org",
		"https://CHARTS.example.org:443/x":     "charts.example.org",
		"https://charts.example.org:8443/x":    "",
		"https://a.b.example.org/":             "*.example.org",
		"https://example.org/":                 "",
		"https://evilexample.org/":             "",
		"https://charts.example.org.evil.com/": "",
		"https://charts.example.org@evil.com/": "",
		"https://registry.example.org:5000/":   "registry.example.org:5000",
		"https://registry.example.org/":        "*.example.org",
		"http://charts.example.org/":           "",
		"http://plain.example.net/":            "plain.example.net",
		"https://plain.example.net/":           "plain.example.net",
		"http://plain.example.net:443/":        "",
		"ssh://git@charts.example.org/x":       "charts.example.org",
		"https://a.ports.example.net:8443/":    "*.ports.example.net:8443",
		"https://a.ports.example.net/":         "",
		"https://charts.example.org./":         "",
		"ftp://charts.example.org/":            "",
		"https://[2001:db8::1]/":               "[2001:db8::1]:443",
		"https:///x":                           "",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := list.allow(u)
		if (err == nil) != (want != "") || got.Name != want {
			t.Errorf("%s: %q, %v; want %q", text, got.Name, err, want)
		}
	}
	for _, bad := range []Hosts{{{Name: ""}}, {{Name: "https://x"}}, {{Name: "a/b"}}, {{Name: "a@b"}}, {{Name: "*"}, {Name: "*"}}, {{Name: "*.*.x"}}, {{Name: "a*"}}, {{Name: "A.x"}, {Name: "a.x"}},
		{{Name: "x."}}, {{Name: "*.x", Credentials: Credentials{"a", "b"}}}, {{Name: "x", Keys: []byte("no key")}}} {
		if err := bad.Check(); !errors.Is(err, ErrRefused) {
			t.Errorf("%v is taken: %v", bad, err)
		}
	}
	if _, err := (Hosts{{Name: Any}}).allow(&url.URL{Scheme: "https", Host: "anything.example"}); err != nil {
		t.Error(err)
	}
}

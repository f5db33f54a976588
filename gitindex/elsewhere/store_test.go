package elsewhere

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
)

func TestHelmRepository(t *testing.T) {
	h := newHost(t)
	h.publish(t, "2.0.0-rc.1", "1.3.0", "1.10.0", "0.9.0", "not-a-version", "1.4.0+build")
	for _, test := range []struct{ asked, want string }{
		{"1.3.0", "1.3.0"}, {"", "1.10.0"}, {"*", "1.10.0"}, {"^1.3.0", "1.10.0"}, {"<1.4", "1.3.0"}, {"1.3.x", "1.3.0"},
		{">=1.0.0-0", "2.0.0-rc.1"}, {"not-a-version", "not-a-version"}, {"1.4.0", "1.4.0+build"}, {"v1.3.0", "1.3.0"},
	} {
		s := store(t, h.entry())
		s.FirstUse = firstUse{}
		tree, pin := must(t, s, h.redis(test.asked))
		if pin.Version != test.want {
			t.Errorf("%q is %q, want %q", test.asked, pin.Version, test.want)
		}
		text, err := fs.ReadFile(tree, "Chart.yaml")
		if err != nil || !strings.Contains(string(text), "version: "+test.want+"\n") {
			t.Errorf("%q: %v: %s", test.asked, err, text)
		}
		if text, err := fs.ReadFile(tree, "templates/all.yaml"); err != nil || string(text) != "kind: ConfigMap\n" {
			t.Errorf("a template: %v: %q", err, text)
		}
	}
	s := store(t, h.entry())
	s.FirstUse = firstUse{}
	for asked, say := range map[string]string{"3.x": "no version of the 6 there fits", "nonsense": "is no range either"} {
		_, _, err := s.Chart(h.redis(asked))
		mustSay(t, err, say)
	}
	_, _, err := s.Chart(render.ChartRef{Repository: h.URL, Name: "nobody"})
	mustSay(t, err, `no chart "nobody"`)
}

func TestWithoutAPin(t *testing.T) {
	h := newHost(t)
	h.publish(t, "1.0.0")
	s := store(t, h.entry())
	for _, lock := range []*Lock{nil, {}} {
		s.Lock = lock
		_, _, err := s.Chart(h.redis("1.0.0"))
		var needs *render.NeedsError
		if !errors.As(err, &needs) || !strings.Contains(needs.Do, `run "gitward lock" and commit .gitward/lock.yaml`) {
			t.Errorf("%v", err)
		}
		_, _, err = s.Base("https://" + h.name + "/a.yaml")
		if !errors.As(err, &needs) {
			t.Errorf("%v", err)
		}
	}
	if len(h.seen) > 0 {
		t.Errorf("something was asked for all the same: %d requests", len(h.seen))
	}
}

// TestPinStays: a range that would resolve to a newer version later does not,
// in either way of pinning.
func TestPinStays(t *testing.T) {
	h := newHost(t)
	h.publish(t, "1.0.0")
	first := store(t, h.entry())
	first.FirstUse = firstUse{}
	locked := store(t, h.entry())
	_, pin := must(t, first, h.redis("1.x"))
	locked.Lock = &Lock{Charts: []LockedChart{{Repository: h.URL + "/", Name: "redis", Version: "1.x", Resolved: pin.Version, Digest: pin.Digest}}}

	h.publish(t, "1.0.0", "1.1.0")
	fresh := store(t, h.entry())
	fresh.FirstUse = firstUse{}
	if _, now := must(t, fresh, h.redis("1.x")); now.Version != "1.1.0" {
		t.Fatalf("who resolves anew gets %v: the test does not bite", now)
	}
	for name, s := range map[string]*Store{"first use": first, "lock": locked} {
		s.Cache = &Cache{Dir: t.TempDir()}
		s.ready = nil
		if _, now := must(t, s, h.redis("1.x")); now != pin {
			t.Errorf("%s: %v, want %v", name, now, pin)
		}
	}
}

// TestChangedContent: a version that is published anew is not taken for what
// was pinned, and the pin stays.
func TestChangedContent(t *testing.T) {
	h := newHost(t)
	h.publish(t, "1.0.0")
	s := store(t, h.entry())
	uses := firstUse{}
	s.FirstUse = uses
	_, pin := must(t, s, h.redis("1.0.0"))
	evil := tgz(t, entry{name: "redis/Chart.yaml", text: "name: evil"})
	h.put("/redis-1.0.0.tgz", evil)

	_, still := must(t, s, h.redis("1.0.0")) // it is kept
	if still != pin {
		t.Errorf("%v became %v", pin, still)
	}
	for name, digest := range map[string]string{"the index tells": strings.TrimPrefix(digestOf(evil), "sha256:"), "the index says nothing": `""`, "the index lies": strings.TrimPrefix(pin.Digest, "sha256:")} {
		h.index(t, "redis", release{Version: "1.0.0", URLs: []string{h.URL + "/redis-1.0.0.tgz"}, Digest: digest})
		if naive := store(t, h.entry()); name == "the index tells" {
			naive.FirstUse = firstUse{}
			if _, got := must(t, naive, h.redis("1.0.0")); got.Digest != digestOf(evil) {
				t.Fatalf("who has no pin gets %v: the test does not bite", got)
			}
		}
		s.Cache = &Cache{Dir: t.TempDir()}
		_, _, err := s.Chart(h.redis("1.0.0"))
		mustSay(t, err, pin.Digest, digestOf(evil))
		var mismatch *MismatchError
		if name != "the index lies" && !errors.As(err, &mismatch) {
			t.Errorf("%s: %v", name, err)
		}
		if uses[chartKey(h.redis("1.0.0"))] != pin {
			t.Errorf("%s: the record has changed", name)
		}
		if kept, _ := os.ReadDir(s.Cache.Dir); len(kept) > 0 {
			t.Errorf("%s: what does not fit is kept", name)
		}
	}
}

// TestUpstreamAway: what is kept needs nobody.
func TestUpstreamAway(t *testing.T) {
	h, o := newHost(t), newOCI(t, "charts/redis")
	h.publish(t, "1.0.0")
	o.push(t, "1.0.0", chartOf(t, "1.0.0"))
	s := store(t, h.entry(), o.entry())
	s.FirstUse = firstUse{}
	_, a := must(t, s, h.redis("1.0.0"))
	_, b := must(t, s, o.ref("1.0.0"))
	h.Close()
	o.Close()
	s.ready = nil
	if _, again := must(t, s, h.redis("1.0.0")); again != a {
		t.Errorf("%v became %v", a, again)
	}
	if _, again := must(t, s, o.ref("1.0.0")); again != b {
		t.Errorf("%v became %v", b, again)
	}
	// Content that was spoilt on disk is as good as none.
	entries, err := filepath.Glob(filepath.Join(s.Cache.Dir, "sha256-*"))
	if err != nil || len(entries) < 2 {
		t.Fatal(entries, err)
	}
	for _, name := range entries {
		if err := os.WriteFile(name, []byte("spoilt"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.ready = nil
	_, _, err = s.Chart(h.redis("1.0.0"))
	mustSay(t, err, "asking "+h.name)
	// A host that is allowed no longer does not serve from the disk either.
	s.Fetcher.Hosts = nil
	_, _, err = s.Chart(h.redis("1.0.0"))
	mustSay(t, err, "not one that the Origin allows", "add the host")
}

func TestRegistry(t *testing.T) {
	o := newOCI(t, "charts/redis")
	o.list("0.1.0", "1.0.0", "latest", "1.2.0_build.5", "2.0.0-rc.1", "sha256-abc.sig")
	for _, v := range []string{"0.1.0", "1.0.0", "1.2.0_build.5", "2.0.0-rc.1", "latest"} {
		o.push(t, v, chartOf(t, v))
	}
	for _, test := range []struct{ asked, want string }{
		{"1.0.0", "1.0.0"}, {"1.x", "1.2.0+build.5"}, {"", "1.2.0+build.5"}, {"latest", "latest"}, {"1.2.0+build.5", "1.2.0+build.5"}, {">=2.0.0-0", "2.0.0-rc.1"},
	} {
		s := store(t, o.entry())
		s.FirstUse = firstUse{}
		tree, pin := must(t, s, o.ref(test.asked))
		if pin.Version != test.want {
			t.Errorf("%q is %q, want %q", test.asked, pin.Version, test.want)
		}
		want := "version: " + strings.ReplaceAll(test.want, "+", "_") + "\n"
		if text, err := fs.ReadFile(tree, "Chart.yaml"); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%q: %v: %s", test.asked, err, text)
		}
	}
	// By digest, and no tag is asked for.
	s := store(t, o.entry())
	ref := o.ref("")
	ref.Digest = o.push(t, "elsewhere", chartOf(t, "7.0.0"))
	before := len(o.seen)
	if _, pin := must(t, s, ref); pin.Digest != ref.Digest || len(o.seen)-before != 2 {
		t.Errorf("%v after %d requests", pin, len(o.seen)-before)
	}
	// A tag that is moved moves nothing.
	ref = o.ref("1.0.0")
	s.FirstUse = firstUse{}
	_, pin := must(t, s, ref)
	o.push(t, "1.0.0", chartOf(t, "6.6.6"))
	s.Cache, s.ready = &Cache{Dir: t.TempDir()}, nil
	if _, again := must(t, s, ref); again != pin {
		t.Errorf("%v became %v", pin, again)
	}
}

// TestRegistryLies: neither a manifest nor a layer counts that has not the
// digest by which it was asked for.
func TestRegistryLies(t *testing.T) {
	o := newOCI(t, "charts/redis")
	good, evil := o.push(t, "1.0.0", chartOf(t, "1.0.0")), o.push(t, "2.0.0", chartOf(t, "2.0.0"))
	o.on("/v2/charts/redis/manifests/"+good, o.paths["/v2/charts/redis/manifests/"+evil])
	ref := o.ref("1.0.0")
	ref.Digest = good
	_, _, err := store(t, o.entry()).Chart(ref)
	mustSay(t, err, good, evil, "is pinned to")

	ref.Digest = o.push(t, "3.0.0", chartOf(t, "3.0.0"))
	layer := digestOf(chartOf(t, "3.0.0"))
	o.host.put("/v2/charts/redis/blobs/"+layer, chartOf(t, "6.6.6"))
	_, _, err = store(t, o.entry()).Chart(ref)
	mustSay(t, err, layer, digestOf(chartOf(t, "6.6.6")))
}

// TestTokens: a registry sends to a realm for a token, and blobs lie with
// somebody else. Nobody sees what is not theirs.
func TestTokens(t *testing.T) {
	o, realm, blobs := newOCI(t, "charts/redis"), newHost(t), newHost(t)
	o.token, o.realm, o.blobAt = "t0ken", realm.URL+"/token", blobs.URL+"/blob?signature=s1gned"
	digest := o.push(t, "1.0.0", chartOf(t, "1.0.0"))
	blobs.put("/blob", chartOf(t, "1.0.0"))
	realm.on("/token", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("scope") != "repository:charts/redis:pull" || r.URL.Query().Get("service") != "reg" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `{"token":"t0ken"}`)
	})
	registry, authority := o.entry(), realm.entry()
	registry.Credentials, authority.Credentials = Credentials{"ada", "for-the-registry"}, Credentials{"ada", "for-the-realm"}
	s := store(t, registry, authority, blobs.entry())
	s.FirstUse = firstUse{}
	if _, pin := must(t, s, o.ref("1.0.0")); pin.Digest != digest {
		t.Errorf("%v", pin)
	}
	for _, a := range blobs.authorizations() {
		if a != "" {
			t.Errorf("the blobs' host sees %q", a)
		}
	}
	for _, a := range realm.authorizations() {
		if a != basic("ada", "for-the-realm") {
			t.Errorf("the realm sees %q", a)
		}
	}
	// The realm and the blobs' host have to be on the list.
	for _, hosts := range [][]Host{{registry, blobs.entry()}, {registry, authority}} {
		s := store(t, hosts...)
		s.FirstUse = firstUse{}
		_, _, err := s.Chart(o.ref("1.0.0"))
		mustSay(t, err, "not one that the Origin allows")
		for _, secret := range []string{"for-the-", "t0ken", "s1gned"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells %q: %v", secret, err)
			}
		}
	}
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// TestPlainHTTP works where it is allowed, for a registry too.
func TestPlainHTTP(t *testing.T) {
	o := newOCI(t, "charts/redis")
	digest := o.push(t, "1.0.0", chartOf(t, "1.0.0"))
	o.publish(t, "1.0.0")
	plain := httptest.NewServer(o.host)
	t.Cleanup(plain.Close)
	name := strings.TrimPrefix(plain.URL, "http://")
	refs := []render.ChartRef{{Repository: plain.URL, Name: "redis", Version: "1.0.0"}, {OCI: "oci://" + name + "/charts/redis", Version: "1.0.0"}}
	for i, ref := range refs {
		s := store(t, Host{Name: name, Private: true, InsecureHTTP: true, Credentials: Credentials{"ada", "pw"}})
		s.FirstUse = firstUse{}
		if _, pin := must(t, s, ref); i == 1 && pin.Digest != digest {
			t.Errorf("%v", pin)
		}
		s.Fetcher.Hosts[0].InsecureHTTP, s.Cache = false, nil
		if _, _, err := s.Chart(ref); err == nil {
			t.Errorf("%v is taken over plain http", ref)
		}
	}
	for _, a := range o.authorizations() {
		if a != "" {
			t.Errorf("credentials over plain http: %q", a)
		}
	}
}

func TestRaceForFirstUse(t *testing.T) {
	h := newHost(t)
	h.publish(t, "1.0.0")
	s := store(t, h.entry())
	s.FirstUse = stubborn{}
	_, _, err := s.Chart(h.redis("1.0.0"))
	mustSay(t, err, "the status cannot be written")
}

// stubborn records nothing.
type stubborn struct{}

func (stubborn) Pinned(string) (render.Pin, bool) { return render.Pin{}, false }
func (stubborn) Record(string, render.Pin) error  { return errors.New("the status cannot be written") }

func TestCacheIsBounded(t *testing.T) {
	c := &Cache{Dir: t.TempDir(), Bytes: 3000}
	var digests []string
	for i := range 5 {
		data := []byte(strings.Repeat(fmt.Sprint(i), 1000))
		digests = append(digests, digestOf(data))
		if err := c.write(digests[i], data); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if _, ok := c.read(digests[0]); !ok { // it is in use
				t.Fatalf("what is used went after %d", i)
			}
		}
	}
	for i, want := range []bool{true, false, false, true, true} {
		if _, ok := c.read(digests[i]); ok != want {
			t.Errorf("%d is there: %v, want %v", i, ok, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

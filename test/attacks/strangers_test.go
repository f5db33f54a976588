package attacks

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/server"
)

// reviewOf is what the API server would ask about the creation of an object.
func reviewOf(uid string, text string) []byte {
	u := objectOf(text)
	gvk := u.GroupVersionKind()
	return must(json.Marshal(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{UID: types.UID(uid), Operation: admissionv1.Create, Namespace: u.GetNamespace(), Name: u.GetName(),
			Kind:     metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind},
			Resource: metav1.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: pluralOf(text)},
			UserInfo: authenticationv1.UserInfo{Username: "mallory"}, Object: runtime.RawExtension{Raw: []byte(asJSON(u.Object))}}}))
}

// TestS36: a Pod on the network asks the webhook itself, and so learns what Git
// holds without the right to read it.
func TestS36(t *testing.T) {
	w := newWorld(t, map[string]string{"late.yaml": configMap("late", "1")})
	guess := func(apple string) []byte {
		return reviewOf("s36-"+apple, strings.ReplaceAll(configMap("late", apple), "$NS", w.ns))
	}
	url := w.lab.naives.handle("/"+w.naive, (&naive{}).serve(map[string]map[string]any{"configmaps/late": objectOf(configMap("late", "1")).Object}))
	for apple, allowed := range map[string]bool{"1": true, "2": false} {
		if r, err := knock(url, w.lab.naives.ca, nil, guess(apple)); err != nil || r.Allowed != allowed {
			t.Errorf("the naive webhook tells a stranger %v, %v: this attack shows nothing", r, err)
		}
	}
	if out, _ := exec.Command(server.Binary(t), "serve", "--help").CombinedOutput(); !strings.Contains(string(out), "--client-ca-file") {
		t.Fatal("this Gitward knows no clients' certificates: strangers get verdicts")
	}
	dir := t.TempDir()
	authority, other := must(gitserver.NewAuthority("the API server's")), must(gitserver.NewAuthority("a stranger's"))
	mine, foreign := must(authority.Issue("127.0.0.1")), must(other.Issue("127.0.0.1"))
	file := filepath.Join(dir, "clients.crt")
	check(t, os.WriteFile(file, authority.PEM, 0o600))
	g := newGitward(t, w.lab.plane, dir, "--client-ca-file", file, "--guard-registration=false")
	t.Cleanup(g.Kill)
	tries, texts := 0, map[string]bool{}
	for _, path := range []string{"/validate", "/mutate", "/healthz", "/nothing"} {
		for _, apple := range []string{"1", "2"} {
			for who, certificate := range map[string]*tls.Certificate{"a stranger": nil, "somebody with a certificate of their own": &foreign} {
				tries++
				r, err := knock(g.URL+path, g.CA, certificate, guess(apple))
				if err == nil {
					t.Errorf("%s answers %s: %+v", path, who, r)
					continue
				}
				// What they are told is the same, whatever they ask.
				text := err.Error()
				if _, after, ok := strings.Cut(text, "remote error: "); ok {
					text = after
				}
				texts[who+": "+text] = true
			}
		}
	}
	// A connection that is cut can be told of in two ways; neither is Gitward's text.
	for text := range texts {
		if !strings.HasSuffix(text, "tls: certificate required") && !strings.HasSuffix(text, "tls: unknown certificate authority") &&
			!strings.HasSuffix(text, "tls: bad certificate") {
			t.Errorf("strangers are told %q", text)
		}
	}
	if len(texts) != 2 {
		t.Errorf("strangers are told several things: %v", slices.Sorted(maps.Keys(texts)))
	}
	if lines, _ := g.size(t); lines != 0 {
		t.Errorf("strangers left %d records", lines)
	}
	for apple, allowed := range map[string]bool{"1": true, "2": false} {
		server.Await(t, "a verdict for the API server", 30*time.Second, func() error {
			r, err := knock(g.URL+"/validate", g.CA, &mine, guess(apple))
			if err == nil && r.Allowed != allowed {
				err = fmt.Errorf("%q is answered %+v", apple, r)
			}
			return err
		})
	}
	t.Logf("%-55s | naive: tells anybody what Git holds | Gitward: no answer without a certificate | %d tries", "strangers ask for verdicts", tries)
}

// flooder is nobody else: for a while after it, denials of that name are counted
// and not recorded one by one.
var flooder = person{name: "flooder", user: controlplane.Admin, as: rest.ImpersonationConfig{UserName: "flooder", Groups: masters}}

// TestS37: one account writes and writes what is refused. Others are served, and
// what is recorded of it is counted.
func TestS37(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"), "late.yaml": configMap("late", "1")})
	lined := w.naiveFlood()
	alone := w.honest(40)
	linesBefore, bytesBefore := w.lab.gitward.size(t)
	const flooders = 64
	var denied atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range flooders {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				err := create(configMap(fmt.Sprintf("flood-%d-%d", i, n), "1")).do(w.lab.client(flooder), w.ns)
				if err == nil {
					t.Errorf("a write of the flood was admitted")
					return
				}
				denied.Add(1)
			}
		})
	}
	started := time.Now()
	amid := w.honest(40)
	close(stop)
	wg.Wait()
	took := time.Since(started).Seconds()
	lines, bytes := 0, 0
	server.Await(t, "the record of the flood", 30*time.Second, func() error {
		lines, bytes = w.lab.gitward.size(t)
		lines, bytes = lines-linesBefore, bytes-bytesBefore
		if n := w.lab.gitward.deniedSince(t, linesBefore); n < denied.Load() {
			return fmt.Errorf("%d of %d denials are recorded or counted", n, denied.Load())
		}
		return nil
	})
	if most := 400 + int(20*took); lines > most {
		t.Errorf("%d denials left %d records, more than %d", denied.Load(), lines, most)
	}
	if amid > alone+5*time.Second {
		t.Errorf("an honest apply takes %v amid the flood, %v without", amid, alone)
	}
	t.Logf("%-55s | naive: gets through (%d denials, %d lines in its log) | Gitward: %d denials in %.1f s left %d records of %d bytes; the slowest honest apply took %v, alone %v",
		"a flood of refused writes", lined, lined, denied.Load(), took, lines, bytes, amid.Round(time.Millisecond), alone.Round(time.Millisecond))
}

// naiveFlood shows that a webhook which writes a line for each denial has its log
// filled by whoever likes to.
func (w *world) naiveFlood() int {
	w.t.Helper()
	const floods = 200
	var lines atomic.Int64
	w.register(&naive{mistake: "each denial is a line in its log", excuse: func(r *review) bool {
		if strings.HasPrefix(r.name(), "flood-") {
			lines.Add(1)
		}
		return false
	}})
	defer w.unregister()
	for n := range floods {
		if err := create(configMap(fmt.Sprintf("flood-%d", n), "1")).do(w.lab.client(flooder), w.naive); !refusedByNaive(err) {
			w.t.Errorf("the flood before a naive webhook: %v", orAdmitted(err))
		}
	}
	if n := lines.Load(); n != floods {
		w.t.Errorf("%d denials were %d lines: this attack shows nothing", floods, n)
	}
	return floods
}

// honest applies what Git has, again and again, and tells the longest it took.
func (w *world) honest(times int) time.Duration {
	w.t.Helper()
	var slowest time.Duration
	for range times {
		started := time.Now()
		if err := apply(inCore+"configmaps/prices", configMap("prices", "1")).do(w.lab.client(whoIs("cluster-admin")), w.ns); err != nil {
			w.t.Errorf("an honest apply: %v", err)
		}
		slowest = max(slowest, time.Since(started))
		time.Sleep(75 * time.Millisecond)
	}
	return slowest
}

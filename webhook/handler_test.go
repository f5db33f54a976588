package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/test/gitserver"
)

// handler decides from one ConfigMap, shop/prices with apple: "1".
func handler(t testing.TB, edit func(*gate.View)) *Handler {
	t.Helper()
	schemas, _ := canonical.New()
	raw := []byte(`{"apiVersion":"v1","data":{"apple":"1"},"kind":"ConfigMap","metadata":{"name":"prices","namespace":"shop"}}`)
	canon, err := schemas.Canonical(raw, "v1")
	if err != nil {
		t.Fatal(err)
	}
	c := &gitindex.Commit{ID: strings.Repeat("4", 40), Author: gitindex.Person{Name: "Ada", Email: "ada@acme.dev"}, Verdict: gitindex.Verdict{Outcome: gitindex.Good}}
	ref := gitindex.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "prices"}
	snap := &gitindex.Snapshot{Origin: "platform", Accepted: c, FetchedAt: time.Now(), Objects: map[gitindex.Ref]*gitindex.Entry{
		ref: {Current: []*gitindex.Manifest{{Ref: ref, APIVersion: "v1", Origin: "platform", Path: "a.yaml", Line: 1, Raw: raw, Canonical: canon, Commit: c}}}}}
	view := &gate.View{Index: gitindex.Index{"platform": snap.Seal()}, Schemas: schemas,
		Rules: []gate.Rule{{Name: "default", Lag: time.Minute, Origins: []gate.Source{{Origin: "platform"}}, ClusterScoped: true, Author: true}}}
	if edit != nil {
		edit(view)
	}
	return &Handler{Gate: &gate.Gate{View: func() *gate.View { return view }, Now: time.Now}, Log: slog.New(slog.DiscardHandler), Budget: NewBudget(64 << 20)}
}

func reviewOf(uid, object, old string) string {
	op := "CREATE"
	if old != "" {
		op = "UPDATE"
	} else {
		old = "null"
	}
	return fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":%q,"kind":{"group":"","version":"v1","kind":"ConfigMap"},`+
		`"resource":{"group":"","version":"v1","resource":"configmaps"},"name":"prices","namespace":"shop","operation":%q,"userInfo":{"username":"eve"},`+
		`"object":%s,"oldObject":%s,"dryRun":false,"options":{"fieldManager":"kubectl"}}}`, uid, op, object, old)
}

func configMap(value, extra string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"prices","namespace":"shop"%s},"data":{"apple":%q}}`, extra, value)
}

func ask(t testing.TB, h http.Handler, path string, body io.Reader) *admissionv1.AdmissionResponse {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", path+"?timeout=5s", body))
	var r admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || r.Response == nil {
		t.Fatalf("%d, no review: %s", w.Code, w.Body)
	}
	return r.Response
}

func TestJudge(t *testing.T) {
	h := handler(t, nil)
	r := ask(t, h, "/validate", strings.NewReader(reviewOf("u1", configMap("1", ""), "")))
	if !r.Allowed || r.UID != "u1" || r.AuditAnnotations["commit"] != strings.Repeat("4", 40) || r.AuditAnnotations["reason"] != "Git" {
		t.Errorf("what Git declares: %+v", r)
	}
	r = ask(t, h, "/validate", strings.NewReader(reviewOf("u2", configMap("9", ""), "")))
	if r.Allowed || r.UID != "u2" || r.Result.Code != 403 || !strings.HasPrefix(r.Result.Message, "ConfigMap shop/prices differs from Git: data.apple\n") {
		t.Errorf("what it does not: %+v", r.Result)
	}
}

func TestTransientDenialsAskToTryAgain(t *testing.T) {
	h := handler(t, func(v *gate.View) { v.Index = nil })
	r := ask(t, h, "/validate", strings.NewReader(reviewOf("u", configMap("1", ""), "")))
	if r.Allowed || r.Result.Code != 429 || r.Result.Reason != "TooManyRequests" || r.Result.Details.RetryAfterSeconds < 1 {
		t.Errorf("an Origin that is not ready: %+v", r.Result)
	}
}

func TestWarnShowsWhatWouldBeRefused(t *testing.T) {
	h := handler(t, func(v *gate.View) { v.Rules[0].Action = gate.Warn })
	r := ask(t, h, "/validate", strings.NewReader(reviewOf("u", configMap("9", ""), "")))
	if !r.Allowed || len(r.Warnings) < 3 || !strings.HasPrefix(r.Warnings[0], "would be refused: ConfigMap shop/prices differs") {
		t.Errorf("%+v", r)
	}
	for _, w := range r.Warnings {
		if len([]rune(w)) > 256 {
			t.Errorf("the API server would cut %q", w)
		}
	}
}

// A body that is not read whole still gets an answer with its uid: one without
// would be a failed call, which failurePolicy Ignore lets pass.
func TestWhateverComesIsAnsweredWithItsUID(t *testing.T) {
	h := handler(t, nil)
	big := strings.Repeat("x", MaxBody)
	padded := strings.Repeat(`\u003c`, 2<<20) // 2 MiB of '<' as Go escapes it: 12 MiB
	for name, c := range map[string]struct {
		body, uid string
		code      int32
	}{
		"too large":          {reviewOf("u-big", configMap(big, ""), ""), "u-big", 413},
		"padded":             {strings.Replace(reviewOf("u-pad", configMap("PAD", ""), ""), "PAD", padded, 1), "u-pad", 403},
		"broken at the end":  {reviewOf("u-broken", configMap("1", ""), "")[:420], "u-broken", 400},
		"of another version": {strings.Replace(reviewOf("u-v", configMap("1", ""), ""), "admission.k8s.io/v1", "admission.k8s.io/v2", 1), "u-v", 400},
		"not JSON":           {"hello", "", 400},
		"empty":              {"", "", 400},
		"deep":               {reviewOf("u-deep", strings.Repeat("[", 20000)+strings.Repeat("]", 20000), ""), "u-deep", 400},
		"no object":          {reviewOf("u-none", "null", ""), "u-none", 403},
		"an object of text":  {reviewOf("u-text", `"x"`, ""), "u-text", 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := ask(t, h, "/validate", strings.NewReader(c.body))
			if r.Allowed || string(r.UID) != c.uid || r.Result.Code != c.code {
				t.Errorf("allowed %v, uid %q, %+v; want uid %q, code %d", r.Allowed, r.UID, r.Result, c.uid, c.code)
			}
		})
	}
}

func TestUIDIsTheRequestsOwn(t *testing.T) {
	for body, want := range map[string]string{
		`{"request":{"uid":"a"}}`: "a",
		`{"kind":"x","other":{"uid":"no"},"request":{"k":{"uid":"no"},"uid":"b"`: "b",
		`{"request":{"object":{"uid":"no"}}}`:                                    "",
		`{"uid":"no","request":{}}`:                                              "",
		`{"request":{"uid":7}}`:                                                  "",
		`["request",{"uid":"no"}]`:                                               "",
	} {
		if got := uidOf([]byte(body)); got != want {
			t.Errorf("uid of %s is %q, want %q", body, got, want)
		}
	}
}

func TestPanicIsARefusal(t *testing.T) {
	h := handler(t, nil)
	h.Gate.View = func() *gate.View { panic("a bug") }
	if r := ask(t, h, "/validate", strings.NewReader(reviewOf("u", configMap("1", ""), ""))); r.Allowed || r.UID != "u" || r.Result.Code != 500 {
		t.Errorf("%+v", r)
	}
}

func TestOverloadAsksToTryAgain(t *testing.T) {
	h := handler(t, nil)
	h.Budget = NewBudget(8 * step)
	if !h.Budget.small.TryAcquire(step) {
		t.Fatal("no room in an empty budget")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/validate?timeout=200ms", strings.NewReader(reviewOf("u", configMap("1", ""), ""))))
	if !strings.Contains(w.Body.String(), `"code":429`) || !strings.Contains(w.Body.String(), `"uid":"u"`) {
		t.Errorf("%s", w.Body)
	}
	h.Budget.small.Release(step)
	for range 20 { // what was taken is given back
		if r := ask(t, h, "/validate", strings.NewReader(reviewOf("u", configMap("1", ""), ""))); !r.Allowed {
			t.Fatalf("after the load is gone: %+v", r.Result)
		}
	}
	big := reviewOf("u-big", configMap(strings.Repeat("x", 3*step), ""), "")
	for range 20 {
		if r := ask(t, h, "/validate", strings.NewReader(big)); r.Allowed || r.Result.Code != 403 {
			t.Fatalf("a large one that has room: %+v", r.Result)
		}
	}
	if !h.Budget.large.TryAcquire(7 * step) {
		t.Fatal("large reviews have not given back what they took")
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/validate?timeout=200ms", strings.NewReader(big)))
	if !strings.Contains(w.Body.String(), `"code":429`) || !strings.Contains(w.Body.String(), `"uid":"u-big"`) {
		t.Errorf("a large one that has none: %s", w.Body)
	}
	if r := ask(t, h, "/validate", strings.NewReader(reviewOf("u", configMap("1", ""), ""))); !r.Allowed {
		t.Errorf("large ones took the small one's room: %+v", r.Result)
	}
}

// Who announces much and sends nothing holds nothing up, and is ended in time.
func TestSlowBodies(t *testing.T) {
	h := handler(t, nil)
	h.Budget = NewBudget(64 << 20)
	server := httptest.NewServer(h)
	defer server.Close()
	for range 20 {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /validate?timeout=2s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", MaxBody)
	}
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	if r := ask(t, h, "/validate", strings.NewReader(reviewOf("u", configMap("1", ""), ""))); !r.Allowed {
		t.Errorf("after %v: %+v", time.Since(began), r.Result)
	}
}

func TestAnnotateStampsAndDecidesNothing(t *testing.T) {
	h := handler(t, nil)
	r := ask(t, h, "/mutate", strings.NewReader(reviewOf("u", configMap("1", ""), "")))
	var ops []patchOp
	if err := json.Unmarshal(r.Patch, &ops); err != nil || !r.Allowed || *r.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatalf("%+v: %v", r, err)
	}
	if len(ops) != 5 || ops[0].Path != "/metadata/annotations" || ops[1].Path != "/metadata/annotations/gitward.dev~1author" {
		t.Errorf("%s", r.Patch)
	}
	r = ask(t, h, "/mutate", strings.NewReader(reviewOf("u", configMap("9", ""), "")))
	if !r.Allowed || r.Patch != nil {
		t.Errorf("what is not in Git is stamped: %s", r.Patch)
	}
	stamped := configMap("1", `,"annotations":{"gitward.dev/commit":"`+strings.Repeat("4", 40)+`"}`)
	spoilt := configMap("9", `,"annotations":{"gitward.dev/commit":"`+strings.Repeat("4", 40)+`"}`)
	r = ask(t, h, "/mutate", strings.NewReader(reviewOf("u", spoilt, stamped)))
	if want := `[{"op":"remove","path":"/metadata/annotations/gitward.dev~1commit"}]`; string(r.Patch) != want {
		t.Errorf("a stamp stays on what is no longer Git's: %s", r.Patch)
	}
	r = ask(t, h, "/mutate", bytes.NewReader(make([]byte, MaxBody+1)))
	if !r.Allowed || r.Patch != nil {
		t.Errorf("an unreadable review: %+v", r)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	h := handler(t, nil)
	for _, c := range []struct {
		method, path string
		code         int
	}{{"GET", "/validate", 405}, {"POST", "/", 404}, {"POST", "/validate/x", 404}} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.code)
		}
	}
}

// Serve reads its certificate again when the files change, speaks HTTP/1.1 only
// and refuses old TLS.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	pool := x509.NewCertPool()
	issue := func() {
		authority, err := gitserver.NewAuthority("test")
		if err != nil {
			t.Fatal(err)
		}
		pair, err := authority.Issue("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		c, k, err := gitserver.PEM(pair)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{cert: c, key: k} {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		pool.AppendCertsFromPEM(authority.PEM)
	}
	issue()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, handler(t, nil), TLS{CertFile: cert, KeyFile: key}) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	post := func() (*http.Response, error) {
		return client.Post("https://"+l.Addr().String()+"/validate?timeout=5s", "application/json", strings.NewReader(reviewOf("u", configMap("1", ""), "")))
	}
	resp, err := post()
	if err != nil || resp.ProtoMajor != 1 {
		t.Fatalf("%v %v", resp, err)
	}
	first := resp.TLS.PeerCertificates[0].SerialNumber
	if _, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	issue()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if resp, err = post(); err == nil && resp.TLS.PeerCertificates[0].SerialNumber.Cmp(first) != 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the new certificate is not served: %v", err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzReviewUIDPrefix(f *testing.F) {
	f.Add([]byte(reviewOf("u", configMap("1", ""), "")))
	f.Add([]byte(`{"request":{"uid":"a`))
	f.Fuzz(func(t *testing.T, body []byte) {
		uid := uidOf(body)
		if req, err := decodeReview(body); err == nil && uid != "" && req.UID != uid && !bytes.Contains(bytes.ToLower(body), []byte(`\u`)) && strings.Count(strings.ToLower(string(body)), `"uid"`) == 1 {
			t.Errorf("the prefix says %q, the review %q", uid, req.UID)
		}
	})
}

// FuzzReview: whatever arrives, nothing that Git does not declare is admitted.
func FuzzReview(f *testing.F) {
	f.Add(reviewOf("u", configMap("1", ""), ""))
	f.Add(reviewOf("u", configMap("9", ""), configMap("1", "")))
	h := handler(f, nil)
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/validate", strings.NewReader(body)))
		var r admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || r.Response == nil {
			t.Fatalf("no answer: %s", w.Body)
		}
		req, err := decodeReview([]byte(body))
		if r.Response.Allowed && (err != nil || req.Operation == gate.Create && !bytes.Contains(req.Object, []byte("prices")) && !bytes.Contains(req.Object, []byte(`\u`))) {
			t.Errorf("admitted: %s", body)
		}
	})
}

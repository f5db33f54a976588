package gate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// helmWorld is a Git that declares one version of a release, as Helm kept it.
func helmWorld(t testing.TB, schemas *canonical.Schemas, r *release) *Gate {
	t.Helper()
	snap := &gitindex.Snapshot{Origin: "platform", FetchedAt: storyNow, Objects: map[gitindex.Ref]*gitindex.Entry{},
		Accepted: &gitindex.Commit{ID: "1", Verdict: gitindex.Verdict{Outcome: gitindex.Good}}}
	declare := func(manifest string, hook bool) {
		objects, err := objectsOf(manifest)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			apiVersion := text(o["apiVersion"])
			if schemas.Scope(groupOf(apiVersion), text(o["kind"])) == canonical.Namespaced { // the index fills it in
				o["metadata"].(map[string]any)["namespace"] = r.namespace
			}
			raw, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			m := &gitindex.Manifest{Ref: gitindex.Ref{Group: groupOf(apiVersion), Kind: text(o["kind"]), Namespace: text(dig(o, "metadata", "namespace")), Name: text(dig(o, "metadata", "name"))},
				APIVersion: apiVersion, Origin: "platform", Path: "chart", Raw: raw, Commit: snap.Accepted, Hook: hook, Level: gitindex.Rendered,
				Applier: &gitindex.Applier{HelmRelease: r.name, HelmNamespace: r.namespace}}
			if m.Canonical, err = schemas.Canonical(raw, versionOf(apiVersion)); err != nil {
				t.Fatal(err)
			}
			snap.Objects[m.Ref] = &gitindex.Entry{Current: []*gitindex.Manifest{m}}
		}
	}
	declare(r.manifest, false)
	for i := range r.hooks {
		declare(r.hooks[i].manifest, true)
	}
	view := &View{Index: gitindex.Index{"platform": snap.Seal()}, Schemas: schemas, Rules: []Rule{{Name: "default", ClusterScoped: true, Origins: []Source{{Origin: "platform"}}, Lag: time.Minute}}}
	return &Gate{View: func() *View { return view }, Now: func() time.Time { return storyNow }}
}

// TestRecordedReleases: what the helm command really sent. Each version of a
// release is admitted where Git declares what is in it, and so is each object that
// Helm decorated for it; with one object more it is not.
func TestRecordedReleases(t *testing.T) {
	schemas, _ := canonical.New()
	reviews := recordedReviews(t)
	var gates []*Gate
	admitted, refused := 0, 0
	for _, rec := range reviews {
		req := rec.request()
		if _, _, ok := releaseNamed(req.Ref()); !ok || req.Operation != Create && req.Operation != Update {
			continue
		}
		secret, err := decodeObject(req.Object)
		if err != nil {
			t.Fatal(err)
		}
		strip(secret, false)
		r, err := readRelease(req.Ref(), secret)
		if err != nil {
			t.Errorf("%s: %v", req.What(), err)
			continue
		}
		g := helmWorld(t, schemas, r)
		gates = append(gates, g)
		if d := g.Decide(context.Background(), req); !d.Allowed || d.Reason != Derived {
			t.Errorf("%s of %s: %s %s", req.Operation, req.What(), d.Reason, d.Message())
		}
		admitted++
		req.OldObject = nil // as a new one: what it was speaks for nothing
		req.Operation = Create
		if d := g.Decide(context.Background(), tampered(t, req)); d.Allowed {
			t.Errorf("%s is admitted with an object more", req.What())
		}
		refused++
	}
	decorated := 0
	for _, rec := range reviews {
		req := rec.request()
		if req.Operation != Create && req.Operation != Update || !strings.Contains(string(req.Object), `"`+gitindex.HelmReleaseName+`"`) {
			continue
		}
		decorated++
		ok := false
		for _, g := range gates {
			d := g.Decide(context.Background(), req)
			ok = ok || d.Allowed && len(d.Reasons[ByApplier]) == 3
		}
		if !ok {
			t.Errorf("%s of %s by Helm is admitted by no version of its release", req.Operation, req.What())
		}
	}
	t.Logf("releases: %d versions admitted, %d tampered ones refused; %d decorated objects", admitted, refused, decorated)
	if admitted < 5 || decorated < 2 {
		t.Errorf("the corpus has too few: %d and %d", admitted, decorated)
	}
}

// tampered is the request with one object more in the release.
func tampered(t *testing.T, req *Request) *Request {
	t.Helper()
	secret, err := decodeObject(req.Object)
	if err != nil {
		t.Fatal(err)
	}
	data := secret["data"].(map[string]any)
	inner, err := unpackRelease(text(data["release"]))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(inner, &all); err != nil {
		t.Fatal(err)
	}
	all["manifest"] = text(all["manifest"]) + "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n"
	if inner, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	data["release"] = base64.StdEncoding.EncodeToString([]byte(packed(t, inner)))
	copied := *req
	if copied.Object, err = json.Marshal(secret); err != nil {
		t.Fatal(err)
	}
	return &copied
}

// TestPartOfUnknownScope: an object of a kind whose scope is not known is indexed
// with and without its namespace; without says nothing about other namespaces.
func TestPartOfUnknownScope(t *testing.T) {
	at := func(namespace string) gitindex.Ref {
		return gitindex.Ref{Group: "acme.dev", Kind: "Widget", Namespace: namespace, Name: "w"}
	}
	r := &declaredRelease{namespace: "shop", parts: map[gitindex.Ref]*releasePart{}}
	r.add(at("shop"), candidate{manifest: &gitindex.Manifest{Ref: at("shop"), Applier: &gitindex.Applier{}}})
	r.add(at(""), candidate{manifest: &gitindex.Manifest{Ref: at(""), Alternate: true, Applier: &gitindex.Applier{}}})
	r.namespace = "shop"
	if r.part(at("kube-system")) != nil {
		t.Error("an object of another namespace is a part")
	}
	for _, namespace := range []string{"", "shop"} {
		if p := r.part(at(namespace)); p == nil || p.ref.Namespace != "shop" {
			t.Errorf("in %q: %+v", namespace, p)
		}
	}
}

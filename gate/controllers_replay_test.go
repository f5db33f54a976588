package gate

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// TestRecordedControllers plays the recorded requests in their order: what
// people and appliers wrote is taken for Git's, and every request that Kubernetes
// itself then made of it must be admitted.
func TestRecordedControllers(t *testing.T) {
	w := newReplay(t)
	seen, admitted := map[string]int{}, 0
	for _, r := range recordedReviews(t) {
		if r.Phase != "/validate" {
			continue
		}
		req := r.request()
		if ofKubernetes(&req.User) {
			d := w.gate.Decide(context.Background(), req)
			seen[string(d.Reason)]++
			if d.Refusal != nil {
				t.Errorf("%s %s by %s: %s\n%s", req.Operation, req.What(), req.User.Name, d.Message(), short(req))
			} else {
				admitted++
			}
		} else if req.SubResource == "" {
			w.declare(req)
		}
		w.store(req)
	}
	t.Logf("admitted %d requests of Kubernetes itself: %v", admitted, seen)
	if admitted < 150 {
		t.Errorf("only %d requests", admitted)
	}
}

func short(req *Request) string { return string(req.Object[:min(len(req.Object), 3000)]) }

type replay struct {
	t       *testing.T
	gate    *Gate
	live    *memory
	schemas *canonical.Schemas
	objects map[gitindex.Ref]*gitindex.Entry
}

func newReplay(t *testing.T) *replay {
	schemas, _ := canonical.New()
	w := &replay{t: t, live: newMemory(), schemas: schemas, objects: map[gitindex.Ref]*gitindex.Entry{}}
	w.gate = &Gate{Now: func() time.Time { return storyNow }, View: func() *View {
		snap := &gitindex.Snapshot{Origin: "platform", Accepted: &gitindex.Commit{ID: "1"}, FetchedAt: storyNow, Objects: w.objects}
		return &View{Index: gitindex.Index{"platform": snap.Seal()}, Schemas: schemas, Live: w.live,
			Rules: []Rule{{Name: "default", ClusterScoped: true, Origins: []Source{{Origin: "platform"}}}}}
	}}
	return w
}

// declare makes Git say what a person or an applier wrote, or took away.
func (w *replay) declare(req *Request) {
	ref := req.Ref()
	if req.Operation == Delete {
		delete(w.objects, ref)
		return
	}
	obj, err := decodeJSON(req.Object)
	if err != nil || obj == nil {
		return
	}
	ref.Name = text(dig(obj, "metadata", "name"))
	strip(obj, w.schemas.HasStatus(req.Group, req.Version, req.Kind))
	raw, err := json.Marshal(obj)
	if err != nil {
		w.t.Fatal(err)
	}
	m := &gitindex.Manifest{Ref: ref, APIVersion: apiVersion(req.Group, req.Version), Origin: "platform", Path: "a.yaml", Line: 1, Raw: raw,
		Commit: &gitindex.Commit{ID: "1", Verdict: gitindex.Verdict{Outcome: gitindex.Good}}}
	if m.Canonical, err = w.schemas.Canonical(raw, req.Version); err != nil {
		return
	}
	w.objects[ref] = &gitindex.Entry{Current: []*gitindex.Manifest{m}}
}

// store keeps live what the API server stored.
func (w *replay) store(req *Request) {
	if req.DryRun || req.SubResource != "" && req.SubResource != "status" {
		return
	}
	switch {
	case req.Operation == Delete && len(req.OldObject) > 0:
		if req.Kind == "Namespace" {
			var m map[string]any
			_ = json.Unmarshal(req.OldObject, &m)
			m["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
			data, _ := json.Marshal(m)
			w.live.putJSON(w.t, data)
		}
	case len(req.Object) > 0:
		w.live.putJSON(w.t, req.Object)
	}
}

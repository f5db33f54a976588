package gate

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestDerivedEdits takes what controllers really made from templates, and edits
// each field of it: whoever has a controller's token must not make of a declared
// workload what its template does not say.
func TestDerivedEdits(t *testing.T) {
	w := newReplay(t)
	kinds := map[string]int{}
	var objects, sent, refused, nothing, own int
	for _, r := range recordedReviews(t) {
		if r.Phase != "/validate" {
			continue
		}
		req := r.request()
		if !ofKubernetes(&req.User) {
			if req.SubResource == "" {
				w.declare(req)
			}
			w.store(req)
			continue
		}
		if d := w.gate.Decide(context.Background(), req); d.Reason == Derived && req.Operation == Create {
			view := w.gate.View()
			obj, err := decodeObject(req.Object)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{"uid", "creationTimestamp", "generation", "managedFields"} { // the API server sets them
				delete(obj["metadata"].(map[string]any), f)
			}
			delete(obj, "status")
			shape := view.Schemas.Shape(req.Group, req.Version, req.Kind)
			key := d.via.Ref.Kind + " -> " + req.Kind
			if kinds[key]++; kinds[key] <= 3 {
				objects++
				edits(obj, func(e edit) {
					if len(e.path) > 0 && isIdentity(e.path) {
						return
					}
					edited := *req
					if edited.Object, err = json.Marshal(obj); err != nil {
						t.Fatal(err)
					}
					sent++
					switch verdict := w.gate.judge(view, &edited); { // without waiting for what may come
					case verdict.Refusal != nil:
						refused++
					case saysNothing(shape, e):
						nothing++
					default:
						own++
						if e.kind != "remove" && !isEmpty(e.now) && !isEmptyList(e.now) && !isControllers(d.via.Ref.GroupKind(), req.Ref().GroupKind(), pathPattern(e.path)) {
							t.Errorf("%s: %s of %s admitted: %v", key, e.kind, pathPattern(e.path), e.now)
						}
					}
				})
			}
		}
		w.store(req)
	}
	t.Logf("%d objects %v; %d edits sent, %d refused, %d that say nothing, %d of the controller's own fields or of defaults", objects, kinds, sent, refused, nothing, own)
	if objects < 10 || sent < 3000 {
		t.Errorf("only %d edits of %d objects", sent, objects)
	}
}

// TestOwnerArrives: a controller acts on an object before the watch has shown
// it. The answer waits a little for that, and no longer.
func TestOwnerArrives(t *testing.T) {
	w := newReplay(t)
	for _, r := range recordedReviews(t) {
		req := r.request()
		switch {
		case r.Phase != "/validate":
			continue
		case !ofKubernetes(&req.User):
			if req.SubResource == "" {
				w.declare(req)
			}
		case req.Kind == "Pod" && req.Operation == Create:
			d := w.gate.Decide(context.Background(), req)
			if d.Reason != Derived {
				t.Fatalf("%s: %s", req.What(), d.Message())
			}
			w.live.remove(d.via)
			if late := w.gate.Decide(context.Background(), req); late.Refusal == nil || late.Refusal.Kind != OwnerUnknown {
				t.Errorf("without its owner: %s", late.Message())
			}
			answer := make(chan Decision)
			go func() { answer <- w.gate.Decide(context.Background(), req) }()
			time.Sleep(20 * time.Millisecond) // likely it waits by now; right either way
			w.live.put(d.via)
			if d := <-answer; d.Refusal != nil {
				t.Errorf("when its owner came: %s", d.Message())
			}
			return
		}
		w.store(req)
	}
	t.Fatal("no Pod was made")
}

// isControllers reports a path of a child that is its controller's own to write.
func isControllers(owner, child, path string) bool {
	for _, m := range append(makers, claimMaker, endpointsMaker) {
		if m.owner != owner || m.child != child {
			continue
		}
		if m.yields == nil {
			return true // there is no template: all of it is
		}
		for p := range m.adds {
			if path == p || strings.HasPrefix(path, p+".") || strings.HasPrefix(path, p+"[") {
				return true
			}
		}
	}
	return false
}

func isEmptyList(v any) bool {
	list, ok := v.([]any)
	return ok && len(list) == 0
}

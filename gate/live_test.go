package gate

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/gitward/gitward/gitindex"
)

// memory is a Live of objects that a test puts into it.
type memory struct {
	mu    sync.Mutex
	byUID map[string]*LiveObject
	byRef map[gitindex.Ref]*LiveObject
	next  chan struct{}
}

func newMemory() *memory {
	return &memory{byUID: map[string]*LiveObject{}, byRef: map[gitindex.Ref]*LiveObject{}, next: make(chan struct{})}
}

func (m *memory) Object(uid string) *LiveObject {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byUID[uid]
}

func (m *memory) Find(ref gitindex.Ref) *LiveObject {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byRef[ref]
}

func (m *memory) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next
}

func (m *memory) put(o *LiveObject) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byUID[o.UID], m.byRef[o.Ref] = o, o
	close(m.next)
	m.next = make(chan struct{})
}

func (m *memory) remove(o *LiveObject) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byUID, o.UID)
	delete(m.byRef, o.Ref)
}

func (m *memory) putJSON(t testing.TB, raw []byte) string {
	o := liveOf(t, raw)
	m.put(o)
	return o.UID
}

// liveOf keeps of an object what the watch keeps.
func liveOf(t testing.TB, raw []byte) *LiveObject {
	t.Helper()
	v, err := decodeJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	o := &LiveObject{APIVersion: text(v["apiVersion"]), UID: text(dig(v, "metadata", "uid")), Deleting: dig(v, "metadata", "deletionTimestamp") != absent}
	o.Ref = gitindex.Ref{Group: groupOf(o.APIVersion), Kind: text(v["kind"]), Namespace: text(dig(v, "metadata", "namespace")), Name: text(dig(v, "metadata", "name"))}
	o.Owner, _ = controllerOf(v)
	if annotations, ok := dig(v, "metadata", "annotations").(map[string]any); ok {
		for k, a := range annotations {
			if strings.HasPrefix(k, StampPrefix) {
				if o.Stamps == nil {
					o.Stamps = map[string]string{}
				}
				o.Stamps[k] = text(a)
			}
		}
	}
	kept := map[string]any{}
	for _, f := range []string{"template", "jobTemplate", "volumeClaimTemplates"} {
		if x := dig(v, "spec", f); x != absent {
			kept[f] = x
		}
	}
	if x := dig(v, "data", "spec", "template"); x != absent {
		kept["template"] = x
	}
	if o.Template, err = json.Marshal(kept); err != nil {
		t.Fatal(err)
	}
	return o
}

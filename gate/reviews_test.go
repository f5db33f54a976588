package gate

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/test/corpus"
)

// recorded is one line of the corpus of real admission requests.
type recorded struct {
	Phase string `json:"phase"`
	Req   struct {
		UID             string
		Kind            struct{ Group, Version, Kind string }
		Resource        struct{ Group, Resource string }
		SubResource     string `json:"subResource"`
		Name, Namespace string
		Operation       Operation
		UserInfo        struct {
			Username, UID string
			Groups        []string
		} `json:"userInfo"`
		Object, OldObject json.RawMessage
		DryRun            bool `json:"dryRun"`
	} `json:"req"`
}

func (r *recorded) request() *Request {
	q := &r.Req
	return &Request{UID: q.UID, Operation: q.Operation, Group: q.Kind.Group, Version: q.Kind.Version, Kind: q.Kind.Kind, Resource: q.Resource.Resource, ResourceGroup: q.Resource.Group,
		SubResource: q.SubResource, Namespace: q.Namespace, Name: q.Name, User: User{Name: q.UserInfo.Username, UID: q.UserInfo.UID, Groups: q.UserInfo.Groups}, DryRun: q.DryRun, Object: q.Object, OldObject: q.OldObject}
}

func recordedReviews(t *testing.T) []*recorded {
	t.Helper()
	f, err := os.Open(corpus.Dir(t, "reviews", "reviews.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []*recorded
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		r := &recorded{}
		if err := json.Unmarshal(lines.Bytes(), r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	if err := lines.Err(); err != nil || len(out) < 1000 {
		t.Fatalf("%d reviews: %v", len(out), err)
	}
	return out
}

// TestRecordedRequestsWithoutGit: with nothing in Git, no real request that
// changes an object or makes one is admitted, whoever sends it.
func TestRecordedRequestsWithoutGit(t *testing.T) {
	schemas, _ := canonical.New()
	snap := &gitindex.Snapshot{Origin: "platform", Accepted: &gitindex.Commit{ID: "1"}, FetchedAt: storyNow}
	view := &View{Index: gitindex.Index{"platform": snap.Seal()}, Schemas: schemas, Rules: []Rule{{Name: "default", ClusterScoped: true, Origins: []Source{{Origin: "platform"}}}}}
	g := &Gate{View: func() *View { return view }, Now: func() time.Time { return storyNow }}
	counts := map[string]int{}
	reviews := recordedReviews(t)
	for _, r := range reviews {
		req := r.request()
		d := g.Decide(context.Background(), req)
		if g.Annotate(context.Background(), req) != nil {
			for k := range g.Annotate(context.Background(), req) {
				t.Errorf("%s is stamped with %s", req.What(), k)
			}
		}
		if d.Refusal != nil {
			counts["refused "+string(d.Refusal.Kind)]++
			lintMessage(t, d.Message(), d.ID)
			continue
		}
		counts["admitted "+string(d.Reason)]++
		switch {
		case d.Reason == NoChange && (req.SubResource == "status" || req.SubResource == "scale" || sameObject(t, req)):
		case d.Reason == NotDeclared && (req.Operation == Delete || req.SubResource == "eviction"):
		case (d.Reason == Platform || d.Reason == ByController) && ofKubernetes(&req.User):
		default:
			t.Errorf("%s of %s by %s admitted: %s", req.Operation, req.What(), req.User.Name, d.Reason)
		}
	}
	for _, k := range sortedKeys(counts) {
		t.Logf("%-28s %d", k, counts[k])
	}
	t.Logf("recorded requests: %d", len(reviews))
}

// ofKubernetes reports a part of Kubernetes itself, as against an applier.
func ofKubernetes(u *User) bool {
	return u.isMachine() && (!strings.HasPrefix(u.Name, accountPrefix) || strings.HasPrefix(u.Name, accountPrefix+"kube-system:"))
}

func sameObject(t *testing.T, req *Request) bool {
	o, err := req.decode()
	if err != nil {
		t.Fatal(err)
	}
	schemas, _ := canonical.New()
	return newSubject(schemas, req, o).unchanged()
}

// TestRecordedAppliesWithTheirManifest: the requests of kubectl apply carry the
// manifest they stem from. With that manifest in Git each is admitted; with one
// field of it changed in Git, none is.
func TestRecordedAppliesWithTheirManifest(t *testing.T) {
	schemas, _ := canonical.New()
	var admitted, refused int
	for _, r := range recordedReviews(t) {
		req := r.request()
		if req.Operation != Create || req.SubResource != "" || strings.HasPrefix(req.User.Name, "system:serviceaccount:kube-system:") {
			// Controllers copy annotations, this one too, to what they derive.
			continue
		}
		obj, err := decodeObject(req.Object)
		if err != nil {
			t.Fatal(err)
		}
		applied := text(dig(obj, "metadata", "annotations", lastApplied))
		if applied == "" {
			continue
		}
		m := &gitindex.Manifest{Ref: req.Ref(), APIVersion: apiVersion(req.Group, req.Version), Origin: "platform", Path: "a.yaml", Line: 1,
			Raw: []byte(applied), Commit: &gitindex.Commit{ID: "1", Verdict: gitindex.Verdict{Outcome: gitindex.Good}}}
		if m.Canonical, err = schemas.Canonical(m.Raw, req.Version); err != nil {
			t.Logf("%s: %v", req.What(), err)
			continue
		}
		if stamped(obj) {
			continue // made with another program's stamps
		}
		if d := gateFor(schemas, m).Decide(context.Background(), req); !d.Allowed {
			t.Errorf("%s by %s: %s", req.What(), req.User.Name, d.Message())
			continue
		}
		admitted++
		other := *m
		other.Raw = []byte(strings.Replace(applied, `"metadata":{`, `"metadata":{"finalizers":["example.org/x"],`, 1))
		if other.Canonical, err = schemas.Canonical(other.Raw, req.Version); err != nil {
			t.Fatal(err)
		}
		if d := gateFor(schemas, &other).Decide(context.Background(), req); d.Allowed {
			t.Errorf("%s lacks a declared finalizer and is admitted", req.What())
			continue
		}
		refused++
	}
	t.Logf("recorded applies: %d admitted with their manifest in Git, %d refused with another", admitted, refused)
	if admitted < 20 || admitted != refused {
		t.Errorf("%d admitted, %d refused", admitted, refused)
	}
}

func stamped(obj map[string]any) bool {
	annotations, _ := dig(obj, "metadata", "annotations").(map[string]any)
	for k := range annotations {
		if strings.HasPrefix(k, StampPrefix) {
			return true
		}
	}
	return false
}

package ledger

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// Learner records decisions as Recorder does, and groups what Gates that only
// audit or warn would have refused: by who and why. It keeps names and paths,
// never values.
type Learner struct {
	Recorder gate.Recorder // may be nil

	mu    sync.Mutex
	gates map[string]map[group]*v1alpha1.Learned
}

// group is what makes two would-be refusals one.
type group struct{ user, reason, operation, resource, namespace, owner, paths string }

const (
	maxGroups = 200
	maxPaths  = 20
)

// Record keeps the decision, and learns from it.
func (l *Learner) Record(req *gate.Request, d *gate.Decision) error {
	if d.Allowed && d.Refusal != nil && d.Gate != "" {
		l.learn(req, d)
	}
	if l.Recorder == nil {
		return nil
	}
	return l.Recorder.Record(req, d)
}

func (l *Learner) learn(req *gate.Request, d *gate.Decision) {
	paths := patterns(d.Refusal.Diffs)
	resource := req.Resource
	if req.ResourceGroup != "" {
		resource += "." + req.ResourceGroup
	}
	if req.SubResource != "" {
		resource += "/" + req.SubResource
	}
	one := v1alpha1.Learned{User: gitindex.Clean(req.User.Name, 300), Reason: string(d.Refusal.Kind), Operation: string(req.Operation), Resource: resource,
		Namespace: req.Namespace, Owner: ownerKind(req), Paths: paths, Example: gitindex.Clean(req.Ref().Name, 253),
		Message: gitindex.Clean(d.Refusal.Head, 300), Count: 1, Last: metav1.NewTime(d.At)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gates == nil {
		l.gates = map[string]map[group]*v1alpha1.Learned{}
	}
	groups := l.gates[d.Gate]
	if groups == nil {
		groups = map[group]*v1alpha1.Learned{}
		l.gates[d.Gate] = groups
	}
	add(groups, one)
}

// add joins one group with what is there. Beyond the most that are kept apart,
// the rest is one.
func add(groups map[group]*v1alpha1.Learned, one v1alpha1.Learned) {
	k := groupOf(&one)
	if groups[k] == nil && len(groups) >= maxGroups-1 {
		one = v1alpha1.Learned{User: "*", Reason: "Other", Operation: "*", Resource: "*", Message: "more kinds of requests than are kept apart", Count: one.Count, Last: one.Last}
		k = groupOf(&one)
	}
	before := groups[k]
	if before == nil {
		groups[k] = &one
		return
	}
	before.Count += one.Count
	if before.Last.Before(&one.Last) {
		before.Last, before.Example, before.Message = one.Last, one.Example, one.Message
	}
}

func groupOf(l *v1alpha1.Learned) group {
	return group{l.User, l.Reason, l.Operation, l.Resource, l.Namespace, l.Owner, strings.Join(l.Paths, " ")}
}

// take hands over what was learned since the last time.
func (l *Learner) take() map[string][]v1alpha1.Learned {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string][]v1alpha1.Learned{}
	for name, groups := range l.gates {
		for _, g := range groups {
			out[name] = append(out[name], *g)
		}
	}
	l.gates = nil
	return out
}

// giveBack takes in again what could not be written.
func (l *Learner) giveBack(name string, groups []v1alpha1.Learned) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gates == nil {
		l.gates = map[string]map[group]*v1alpha1.Learned{}
	}
	if l.gates[name] == nil {
		l.gates[name] = map[group]*v1alpha1.Learned{}
	}
	for _, g := range groups {
		add(l.gates[name], g)
	}
}

// merge adds what is new to what a status says; the counts of several replicas
// and of several lives add up. The most frequent come first.
func merge(have, more []v1alpha1.Learned) []v1alpha1.Learned {
	groups := map[group]*v1alpha1.Learned{}
	for _, list := range [][]v1alpha1.Learned{have, more} {
		for _, g := range list {
			add(groups, g)
		}
	}
	var out []v1alpha1.Learned
	for _, g := range groups {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b v1alpha1.Learned) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.User, b.User), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(strings.Join(a.Paths, " "), strings.Join(b.Paths, " ")))
	})
	return out
}

// ownerKind is the kind of the object's controller, with its group; empty when it
// has none.
func ownerKind(req *gate.Request) string {
	var o struct {
		Metadata struct {
			OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
		} `json:"metadata"`
	}
	if json.Unmarshal(req.Object, &o) != nil {
		return ""
	}
	for _, r := range o.Metadata.OwnerReferences {
		if r.Controller != nil && *r.Controller {
			group, _, ok := strings.Cut(r.APIVersion, "/")
			if !ok {
				group = ""
			}
			return gitindex.Clean(gitindex.Ref{Group: group, Kind: r.Kind}.GroupKind(), 200)
		}
	}
	return ""
}

// Keys of labels and annotations are part of a path; the keys of a list's items
// are not.
var (
	itemKey = regexp.MustCompile(`\[[^\]]*\]`)
	textKey = regexp.MustCompile(`\.(labels|annotations|data|matchLabels|nodeSelector)(\[[^\]]*\])`)
)

// patterns are the paths of differences as field rules write them.
func patterns(diffs []gate.Difference) []string {
	var out []string
	for _, d := range diffs {
		kept := textKey.ReplaceAllStringFunc(d.Path, func(s string) string { return strings.NewReplacer("[", "\x01", "]", "\x02").Replace(s) })
		p := strings.NewReplacer("\x01", "[", "\x02", "]").Replace(itemKey.ReplaceAllString(kept, "[]"))
		if p = gitindex.Clean(p, 200); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxPaths)]
}

package ledger

import (
	"cmp"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

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
	gates map[string]*Groups
}

const (
	maxGroups = 200
	maxPaths  = 20
	// maxLearned is what a Gate's status holds of it as JSON, where a character
	// may take six bytes: the API server takes 3 MiB of a whole object at most.
	maxLearned = 256 << 10
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
	one := Seen{User: req.User.Name, Reason: string(d.Refusal.Kind), Operation: string(req.Operation), ResourceGroup: req.ResourceGroup, Resource: req.Resource,
		SubResource: req.SubResource, Namespace: req.Namespace, Name: req.Ref().Name, Owner: req.OwnerKind(), Message: d.Refusal.Head, At: d.At}
	for _, diff := range d.Refusal.Diffs {
		one.Paths = append(one.Paths, diff.Path)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups(d.Gate).Add(one)
}

// groups are those of one Gate. The caller holds mu.
func (l *Learner) groups(name string) *Groups {
	if l.gates == nil {
		l.gates = map[string]*Groups{}
	}
	if l.gates[name] == nil {
		l.gates[name] = &Groups{Most: maxGroups}
	}
	return l.gates[name]
}

// Seen is one request that would have been refused, from a decision or from its
// record.
type Seen struct {
	User, Reason, Operation              string
	ResourceGroup, Resource, SubResource string
	Namespace, Name, Owner, Message      string
	Paths                                []string // as refusals show them
	At                                   time.Time
}

// learned is the group that it begins. Names are as the rules of a Gate write
// them.
func (s *Seen) learned() v1alpha1.Learned {
	resource := s.Resource
	if s.ResourceGroup != "" {
		resource += "." + s.ResourceGroup
	}
	if s.SubResource != "" {
		resource += "/" + s.SubResource
	}
	namespace := s.Namespace
	if resource == "namespaces" {
		namespace = s.Name // it belongs to the one it names
	}
	return v1alpha1.Learned{User: gitindex.Clean(s.User, 300), Reason: s.Reason, Operation: s.Operation, Resource: gitindex.Clean(resource, 300),
		Namespace: gitindex.Clean(namespace, 253), Owner: s.Owner, Paths: patterns(s.Paths), Example: gitindex.Clean(s.Name, 253),
		Message: gitindex.Clean(s.Message, 300), Count: 1, Last: metav1.NewTime(s.At)}
}

// Groups are would-be refusals by who and why.
type Groups struct {
	Most int // that are kept apart; 0 is any number

	kinds map[kind]*v1alpha1.Learned
}

// kind is what makes two would-be refusals one.
type kind struct{ user, reason, operation, resource, namespace, owner, paths string }

func kindOf(l *v1alpha1.Learned) kind {
	return kind{l.User, l.Reason, l.Operation, l.Resource, l.Namespace, l.Owner, strings.Join(l.Paths, " ")}
}

// Add takes one in.
func (g *Groups) Add(s Seen) { g.join(s.learned()) }

// join puts a group together with what is there. Beyond the most that are kept
// apart, the rest is one.
func (g *Groups) join(one v1alpha1.Learned) {
	if g.kinds == nil {
		g.kinds = map[kind]*v1alpha1.Learned{}
	}
	k := kindOf(&one)
	if g.kinds[k] == nil && g.Most > 0 && len(g.kinds) >= g.Most-1 {
		one = other(one.Count, one.Last)
		k = kindOf(&one)
	}
	before := g.kinds[k]
	if before == nil {
		g.kinds[k] = &one
		return
	}
	before.Count += one.Count
	if before.Last.Before(&one.Last) {
		before.Last, before.Example, before.Message = one.Last, one.Example, one.Message
	}
}

func other(count int64, last metav1.Time) v1alpha1.Learned {
	return v1alpha1.Learned{User: "*", Reason: "Other", Operation: "*", Resource: "*", Message: "more kinds of requests than are kept apart", Count: count, Last: last}
}

// List gives the groups, the most frequent first.
func (g *Groups) List() []v1alpha1.Learned {
	var out []v1alpha1.Learned
	for _, l := range g.kinds {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b v1alpha1.Learned) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.User, b.User), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Owner, b.Owner), cmp.Compare(strings.Join(a.Paths, " "), strings.Join(b.Paths, " ")))
	})
	return out
}

// take hands over what was learned since the last time.
func (l *Learner) take() map[string][]v1alpha1.Learned {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string][]v1alpha1.Learned{}
	for name, groups := range l.gates {
		out[name] = groups.List()
	}
	l.gates = nil
	return out
}

// giveBack takes in again what could not be written.
func (l *Learner) giveBack(name string, groups []v1alpha1.Learned) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range groups {
		l.groups(name).join(g)
	}
}

// merge adds what is new to what a status says; the counts of several replicas
// and of several lives add up. The most frequent come first.
func merge(have, more []v1alpha1.Learned) []v1alpha1.Learned {
	groups := Groups{Most: maxGroups}
	for _, list := range [][]v1alpha1.Learned{have, more} {
		for _, g := range list {
			groups.join(g)
		}
	}
	return fit(groups.List())
}

// fit folds the least frequent groups into one until the list is no larger than
// a status should hold.
func fit(list []v1alpha1.Learned) []v1alpha1.Learned {
	rest := other(0, metav1.Time{})
	room := maxLearned - len("[]") - sizeOf(other(math.MaxInt64, metav1.Now()))
	fits, kept := true, Groups{}
	for _, l := range list {
		isRest := kindOf(&l) == kindOf(&rest)
		if !isRest {
			room -= sizeOf(l)
			fits = fits && room >= 0
		}
		if fits && !isRest {
			kept.join(l)
			continue
		}
		rest.Count += l.Count
		if rest.Last.Before(&l.Last) {
			rest.Last = l.Last
		}
	}
	if rest.Count > 0 {
		kept.join(rest)
	}
	return kept.List()
}

// sizeOf is what a group takes in a status, with its comma.
func sizeOf(l v1alpha1.Learned) int {
	data, err := json.Marshal(l)
	if err != nil {
		return maxLearned // no room for what cannot be written
	}
	return len(data) + 1
}

// Free keys of a map are part of a path; the keys of a list's items are not. In
// brackets stands either, so that it is told by the field's name.
var (
	brackets = regexp.MustCompile(`\[[^\]]*\]`)
	freeKeys = regexp.MustCompile(`(^|\.)(labels|annotations|data|binaryData|stringData|matchLabels|selector|nodeSelector|limits|requests|hard|capacity|allocatable|overhead|parameters|options|volumeAttributes|attributes)$`)
)

// anyMore stands for the paths of a request that has more than are kept.
const anyMore = "and more"

// patterns are paths as field rules write them.
func patterns(paths []string) []string {
	var out []string
	more := false
	for _, path := range paths {
		if strings.HasPrefix(path, "and ") {
			more = true // a record cut them short
			continue
		}
		if p := gitindex.Clean(pattern(path), 200); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	if len(out) > maxPaths || more {
		out = append(out[:min(len(out), maxPaths-1)], anyMore)
	}
	return out
}

// pattern has [] for every item of a list.
func pattern(path string) string {
	var b strings.Builder
	from := 0
	for _, at := range brackets.FindAllStringIndex(path, -1) {
		b.WriteString(path[from:at[0]])
		key := path[at[0]:at[1]]
		from = at[1]
		if !strings.ContainsAny(key, "./") || !freeKeys.MatchString(path[:at[0]]) {
			key = "[]"
		}
		b.WriteString(key)
	}
	return b.String() + path[from:]
}

package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/server"
)

// story is one repository that a tool deploys, and what is to be seen of it.
type story struct {
	files  map[string]string // without the tool's own
	render []v1alpha1.Render
	units  []string // the Kustomizations or Applications beside the first

	web     string // a Deployment: "apps/v1 Deployment shop/web"
	image   string // of its first container, as rendered
	setting string // a ConfigMap whose key "apple" is "red", as rendered
	source  string // the file that the setting is in
	pruned  string // the file that is taken away, and ...
	orphan  string // ... its only object
	stays   []string
}

// applier is a tool at work in a lab.
type applier interface {
	// users are whom its requests come from.
	users() []string
	// programs are what applies, and what feeds it.
	programs() (applies *daemon, feeds []*daemon)
	// reconciled reports whether every unit of the story has applied a commit.
	reconciled(commit string) error
	// again waits for so many more reconciliations of every unit, and counts
	// what they asked for about other objects than the tool's own status.
	again(since mark, times int) map[string]*tally
	// adopted is how many writes an object takes beyond the first
	// reconciliation, with Gitward or without, until the tool has it.
	adopted(object string) int
	// strict says that it takes away what others add to its objects.
	strict() bool
	// edits are changes, by object, of what tells the tool what to do.
	edits() map[string][]string
	// astray is an edit of that which the tool itself mends.
	astray() (object, edit string)
	// mark makes an object look as if the tool had applied it.
	mark(u *unstructured.Unstructured)
	// manager is its field manager.
	manager() string
}

// stage is a tool, the story that it plays, and where.
type stage struct {
	*lab
	applier
	story
	files map[string]string // with the tool's own
}

// play tells one chapter after the other of the same cluster, whose gate is
// shut and in which the tool does not run yet.
func (s *stage) play(t *testing.T, tip string) {
	defer s.tellAtEnd(t)
	begin := s.lab.mark()
	if !t.Run("everything that is applied is admitted", s.chapter(func(t *testing.T) { s.first(t, begin, tip) })) {
		table(t, "what was asked for", s.tallies(begin.requests, s.users()...))
		return
	}
	t.Run("it is settled after the first", s.chapter(func(t *testing.T) { s.settled(t, 4) }))
	t.Run("a commit elsewhere writes nothing", s.chapter(func(t *testing.T) {
		tip = s.commit(map[string]string{"README.md": "# something else\n"})
		server.Await(t, "the next commit", patience, func() error { return s.reconciled(tip) })
		s.settled(t, 2)
	}))
	t.Run("a change in Git arrives", s.chapter(func(t *testing.T) {
		since := s.lab.mark()
		tip = s.commit(map[string]string{s.source: strings.ReplaceAll(s.files[s.source], "red", "green")})
		server.Await(t, "the change", patience, func() error { return s.value(s.setting, "green", "data", "apple") })
		server.Await(t, "the commit", patience, func() error { return s.reconciled(tip) })
		s.nothingDenied(t, since, s.users()...)
		s.settled(t, 2)
	}))
	t.Run("what is removed in Git is pruned", s.chapter(func(t *testing.T) {
		since := s.lab.mark()
		tip = s.commit(nil, s.pruned)
		s.gone(s.orphan, patience)
		server.Await(t, "the commit", patience, func() error { return s.reconciled(tip) })
		s.nothingDenied(t, since, s.users()...)
	}))
	t.Run("a manual edit is refused", s.chapter(func(t *testing.T) {
		s.refusals(t, s.eve, map[string][]string{
			s.web:     {`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"registry.example.org/evil:1"}]}}}}`},
			s.setting: {`{"data":{"apple":"rotten"}}`},
		})
	}))
	t.Run("what tells the tool what to do cannot be edited by hand", s.chapter(func(t *testing.T) { s.refusals(t, s.eve, s.edits()) }))
	t.Run("the tool's own account may do nothing that is not in Git", s.chapter(s.ownAccount))
	t.Run("what a person spoils while the gate is off is repaired", s.chapter(func(t *testing.T) { s.repairs(t, tip) }))
	t.Run("what nobody signed is not applied", s.chapter(s.unsigned))
}

// chapter has failures told of the subtest that they are of.
func (s *stage) chapter(tell func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) {
		s.lab.t = t
		tell(t)
	}
}

func (s *stage) tellAtEnd(t *testing.T) {
	s.lab.t = t
	if !t.Failed() {
		return
	}
	applies, feeds := s.programs()
	for _, d := range append(feeds, applies) {
		t.Logf("%s says:\n%s", d.Name, d.Tail())
	}
	s.tellOrigin(t)
}

// first: the tool starts, and applies all that Git declares.
func (s *stage) first(t *testing.T, begin mark, tip string) {
	s.run(t)
	server.Await(t, "the first reconciliation", patience, func() error { return s.reconciled(tip) })
	s.nothingDenied(t, begin, s.users()...)
	for _, object := range append(s.stays, s.web, s.setting, s.orphan) {
		if _, err := s.get(object); err != nil {
			t.Errorf("%s: %v", object, err)
		}
	}
	table(t, "the first reconciliation", s.tallies(begin.requests, s.users()...))
	s.second(t)
}

// second waits for the second reconciliation, which may write only what the
// tool writes then without Gitward too.
func (s *stage) second(t *testing.T) {
	t.Helper()
	for object, c := range s.again(s.lab.mark(), 2) { // the second is over when the third has begun
		if c.writes > s.adopted(object) || c.denied > 0 {
			t.Errorf("%s: %d writes, %d denied in the second reconciliation\n%s", object, c.writes, c.denied, strings.Join(c.written, "\n"))
		}
	}
}

// run starts all programs.
func (s *stage) run(t *testing.T) {
	applies, feeds := s.programs()
	for _, d := range append(feeds, applies) {
		d.Start(t)
		d.ready(t)
	}
}

// settled holds that so many more reconciliations write nothing.
func (s *stage) settled(t *testing.T, times int) {
	t.Helper()
	since := s.lab.mark()
	tallies := s.again(since, times)
	for object, c := range tallies {
		if c.writes > 0 || c.denied > 0 || c.others > 0 {
			t.Errorf("%s: %d writes, %d denied and %d other errors in %d reconciliations\n%s", object, c.writes, c.denied, c.others, times, strings.Join(c.written, "\n"))
		}
	}
	s.nothingDenied(t, since, s.users()...)
	table(t, fmt.Sprintf("%d more reconciliations", times), tallies)
}

// value reports whether a field of an object is as it should be.
func (l *lab) value(object, want string, path ...string) error {
	u, err := l.get(object)
	if err != nil {
		return err
	}
	if got, _, _ := unstructured.NestedString(u.Object, path...); got != want {
		return fmt.Errorf("%s is %q", strings.Join(path, "."), got)
	}
	return nil
}

// refusals holds that Gitward refuses each edit, and that the object is deleted,
// and tells how long that took: before it refuses, Gitward looks at Git.
func (l *lab) refusals(t *testing.T, as dynamic.Interface, edits map[string][]string) {
	t.Helper()
	var all []time.Duration
	try := func(what string, ask func() error) {
		began := time.Now()
		if err := ask(); !server.Refused(err) {
			t.Errorf("%s: %v", what, err)
		}
		all = append(all, time.Since(began))
	}
	for _, object := range slices.Sorted(maps.Keys(edits)) {
		for _, edit := range edits[object] {
			try(object+" "+edit, func() error { return l.patch(as, object, edit) })
		}
		try("deleting "+object, func() error { return l.delete(as, object) })
	}
	slices.Sort(all)
	t.Logf("%d edits and deletions: half of them refused within %v, the slowest in %v", len(all), all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
}

// ownAccount: whoever has the tool's token may do nothing more with it than
// anybody else, whatever the object says of itself.
func (s *stage) ownAccount(t *testing.T) {
	applies, _ := s.programs()
	config := rest.AnonymousClientConfig(s.plane.RESTConfig(person))
	config.BearerToken = applies.token
	as := must(dynamic.NewForConfig(config))
	s.refusals(t, as, map[string][]string{s.setting: {`{"data":{"apple":"rotten"}}`}})
	u := ref("v1 ConfigMap " + ref(s.setting).GetNamespace() + "/smuggled")
	s.applier.mark(u)
	client := must(s.client(as, u))
	_, err := client.Apply(context.Background(), u.GetName(), u, metav1.ApplyOptions{FieldManager: s.manager(), Force: true})
	if !server.Refused(err) {
		t.Errorf("what is in no repository: %v", err)
	}
}

// repairs: the tool is away, so is the gate, and Eve spoils what she can. Then
// both come back.
func (s *stage) repairs(t *testing.T, tip string) {
	applies, _ := s.programs()
	applies.Stop()
	s.gated(false)
	s.spoil()
	s.gated(true)
	since := s.lab.mark()
	applies.Start(t)
	applies.ready(t)
	server.Await(t, "the repair", 2*patience, func() error { return errors.Join(s.repaired(), s.reconciled(tip)) })
	s.nothingDenied(t, since, s.users()...)
	table(t, "the repair", s.tallies(since.requests, s.users()...))
	s.settled(t, 2)
}

// spoil is what Eve does: she takes the tool's mark away, changes and adds fields,
// tells the tool to do something else, and deletes a Service.
func (s *stage) spoil() {
	s.t.Helper()
	web := ref(s.web)
	s.applier.mark(web)
	for field, set := range map[string]map[string]string{"labels": web.GetLabels(), "annotations": web.GetAnnotations()} {
		for key := range set {
			s.check(s.patch(s.eve, s.web, fmt.Sprintf(`{"metadata":{%q:{%q:null}}}`, field, key)))
		}
	}
	s.check(s.patch(s.eve, s.web, `{"spec":{"replicas":7,"template":{"spec":{"containers":[{"name":"web","image":"registry.example.org/evil:1"}]}}}}`))
	s.check(s.patch(s.eve, s.setting, `{"data":{"apple":"rotten","pear":"smuggled"}}`))
	object, edit := s.astray()
	s.check(s.patch(s.eve, object, edit))
	for _, object := range s.stays {
		if ref(object).GetKind() == "Service" {
			s.check(s.delete(s.eve, object))
		}
	}
}

// repaired reports whether all is as Git has it again.
func (s *stage) repaired() error {
	web, err := s.get(s.web)
	if err != nil {
		return err
	}
	containers, _, _ := unstructured.NestedSlice(web.Object, "spec", "template", "spec", "containers")
	image, _, _ := unstructured.NestedString(containers[0].(map[string]any), "image")
	replicas, _, _ := unstructured.NestedInt64(web.Object, "spec", "replicas")
	if image != s.image || replicas == 7 {
		return fmt.Errorf("its image is %q, and it has %d replicas", image, replicas)
	}
	settings, err := s.get(s.setting)
	if err != nil {
		return err
	}
	data, _, _ := unstructured.NestedStringMap(settings.Object, "data")
	if data["apple"] != "green" || s.strict() && data["pear"] != "" {
		return fmt.Errorf("the settings are %v", data)
	}
	for _, object := range s.stays {
		if _, err := s.get(object); err != nil {
			return fmt.Errorf("%s: %w", object, err)
		}
	}
	return nil
}

// unsigned: a commit that nobody signed is fetched and tried by the tool, which
// checks no signature here, and refused; a signed one mends it.
func (s *stage) unsigned(t *testing.T) {
	since := s.lab.mark()
	s.commitAs(nil, map[string]string{s.source: strings.ReplaceAll(s.files[s.source], "red", "rotten")})
	server.Await(t, "a refusal", patience, func() error {
		if s.deniedSince(since, s.users()...) == 0 {
			return errors.New("nothing was refused")
		}
		return nil
	})
	time.Sleep(5 * time.Second) // for whatever it tries next
	if err := s.value(s.setting, "green", "data", "apple"); err != nil {
		t.Error(err)
	}
	tip := s.commit(map[string]string{s.source: strings.ReplaceAll(s.files[s.source], "red", "blue")})
	server.Await(t, "the signed commit", 2*patience, func() error {
		return errors.Join(s.value(s.setting, "blue", "data", "apple"), s.reconciled(tip))
	})
}

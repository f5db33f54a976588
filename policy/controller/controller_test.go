package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/worker"
)

const asChild = "answer-as-child"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asChild {
		memory, err := strconv.Atoi(os.Args[2])
		if err == nil {
			err = worker.Serve(os.Stdin, os.Stdout, os.NewFile(3, "mark"), memory)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// repository is one Origin whose trusted tree a test changes.
type repository struct {
	tree     fstest.MapFS
	revision string
	slow     chan struct{} // if set, what a reading waits for
	reads    int
}

func (r *repository) Revision(string) string { return r.revision }

func (r *repository) Read(origin string, do func(fs.FS, string) error) error {
	if origin != "platform" {
		return errors.New("there is no Origin " + origin)
	}
	if r.slow != nil && origin == "platform" {
		<-r.slow
	}
	r.reads++
	return do(r.tree, r.revision)
}

func (r *repository) commit(id string, files map[string]string) {
	r.revision = id
	r.tree = fstest.MapFS{"README.md": {Data: []byte("hello")}}
	for name, text := range files {
		r.tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
}

type scene struct {
	*Controller
	t    *testing.T
	repo *repository
}

func newScene(t *testing.T) *scene {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, repo: &repository{}}
	s.Controller = &Controller{Trees: s.repo, Worker: worker.Config{Command: []string{exe, asChild}}, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	return s
}

func (s *scene) use(places ...string) {
	var uses []Use
	for _, p := range places {
		uses = append(uses, Use{Place: Place{Origin: "platform", Path: p}})
	}
	s.Want(map[string][]Use{"default": uses})
	s.Sync(context.Background())
}

// ask is what the policies say of a ConfigMap with this data.
func (s *scene) ask(data string) string {
	s.t.Helper()
	in, err := json.Marshal(policy.Input{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Request: policy.Request{Operation: "CREATE",
		Kind: policy.Kinds{Version: "v1", Kind: "ConfigMap"}, Object: json.RawMessage(`{"kind":"ConfigMap","data":` + data + `}`)}})
	if err != nil {
		s.t.Fatal(err)
	}
	found, err := s.Ask(context.Background(), "default", policy.Admission, in)
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, f := range found {
		out = append(out, fmt.Sprintf("%s@%s %s:%d %s: %s", f.Origin, f.Revision, f.File, f.Line, f.Action, f.Message))
	}
	return strings.Join(out, "\n")
}

func (s *scene) want(data, want string) {
	s.t.Helper()
	if got := s.ask(data); got != want && (want == "" || !strings.Contains(got, want)) {
		s.t.Errorf("%s: %q, want %q", data, got, want)
	}
}

const (
	noBad   = "package fruit\n\ndeny contains \"bad is not good\" if input.request.object.data.bad\n"
	noWorse = "package fruit\n\ndeny contains \"worse is not good\" if input.request.object.data.worse\n"
)

func TestPoliciesFollowGit(t *testing.T) {
	s := newScene(t)
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	s.want(`{"bad":"1"}`, "have not been read yet")
	s.use("rules")
	s.want(`{"bad":"1"}`, "platform@one rules/a.rego:3 deny: bad is not good")
	s.want(`{"worse":"1"}`, "")

	s.repo.commit("two", map[string]string{"rules/a.rego": noWorse})
	s.Sync(context.Background())
	s.want(`{"bad":"1"}`, "")
	s.want(`{"worse":"1"}`, "platform@two rules/a.rego:3 deny: worse is not good")

	for name, test := range map[string]struct {
		files map[string]string
		says  string
	}{
		"does not parse":     {map[string]string{"rules/a.rego": "package fruit\n\ndeny contains {"}, "unexpected"},
		"impure":             {map[string]string{"rules/a.rego": "package fruit\n\ndeny contains \"x\" if http.send({})\n"}, "http.send is not for policies"},
		"its own test fails": {map[string]string{"rules/a.rego": noBad, "rules/a_test.rego": "package fruit_test\n\ntest_a if count(data.fruit.deny) == 1 with input as {}\n"}, "fruit_test.test_a does not pass"},
		"says nothing":       {map[string]string{"rules/a.rego": "package fruit\n\nallow if true\n"}, "would say nothing"},
		"is gone":            {map[string]string{}, "there are no policies here"},
		"compiles for ever":  {map[string]string{"rules/a.rego": "package fruit\n\ndeny contains \"x\" if count(deny) == 0\n"}, "recursive"},
	} {
		t.Run(name, func(t *testing.T) {
			s.repo.commit("bad, for it "+name, test.files) // a commit has one tree
			s.Sync(context.Background())
			s.want(`{"worse":"1"}`, "platform@two rules/a.rego:3 deny: worse is not good")
			if st := s.Status("default")[0]; st.Revision != "two" || !strings.Contains(fmt.Sprint(st.Problems), test.says) {
				t.Errorf("in force %s; %v, want %q", st.Revision, st.Problems, test.says)
			}
		})
	}

	again := newScene(t)
	again.repo, again.Controller.Trees, again.Dir = s.repo, s.repo, s.Dir
	again.use("rules")
	again.want(`{"worse":"1"}`, "platform@two rules/a.rego:3 deny: worse is not good")

	s.repo.commit("three", map[string]string{"rules/a.rego": noBad})
	again.Sync(context.Background())
	again.want(`{"bad":"1"}`, "platform@three")
	if st := again.Status("default")[0]; len(st.Problems) > 0 || st.Refused != "" || len(st.Policies) != 1 {
		t.Errorf("%+v", st)
	}
}

// TestNotInForce: what a Gate's policies govern waits until all of them are
// there; an Origin that is missing or policies that never were good let nothing
// pass.
func TestNotInForce(t *testing.T) {
	s := newScene(t)
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad, "more/b.rego": "package"})
	s.use("rules", "more")
	s.want(`{}`, "error: the policies platform:more are not in force: b.rego")
	s.repo.commit("two", map[string]string{"rules/a.rego": noBad, "more/b.rego": noWorse})
	s.Sync(context.Background())
	s.want(`{"bad":"1","worse":"2"}`, "platform@one rules/a.rego:3 deny: bad is not good\nplatform@two more/b.rego:3 deny: worse is not good")
	s.Want(map[string][]Use{"default": {{Place: Place{Origin: "nowhere", Path: "."}}}})
	s.Sync(context.Background())
	s.want(`{}`, "there is no Origin nowhere")
	s.Want(map[string][]Use{"default": {{Place: Place{Origin: "platform", Path: "rules"}, Action: policy.Warn}}})
	s.Sync(context.Background())
	s.want(`{"bad":"1"}`, "warn: bad is not good")
}

// TestNewDenials: a state that denies much of what was let pass lately is not put
// into force unless the Gate bears with it.
func TestNewDenials(t *testing.T) {
	s := newScene(t)
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	use := Use{Place: Place{Origin: "platform", Path: "rules"}, NewDenials: 20}
	s.Want(map[string][]Use{"default": {use}})
	s.Sync(context.Background())
	for range 15 {
		s.want(`{"good":"1"}`, "")
		s.want(`{"worse":"1"}`, "")
		s.want(`{"bad":"1"}`, "bad is not good")
	}
	s.repo.commit("two", map[string]string{"rules/a.rego": noWorse})
	s.Sync(context.Background())
	s.want(`{"worse":"1"}`, "")
	if st := s.Status("default")[0]; !strings.Contains(fmt.Sprint(st.Problems), "would deny 15 of the last 30 requests") || st.Refused != "two" {
		t.Errorf("%+v", st.Problems)
	}
	use.NewDenials = 60
	s.repo.commit("three", map[string]string{"rules/a.rego": noWorse + "\n"})
	s.Want(map[string][]Use{"default": {use}})
	s.Sync(context.Background())
	s.want(`{"worse":"1"}`, "platform@three")

	s.repo.commit("four", map[string]string{"rules/a.rego": "package fruit\n\ndeny contains \"x\" if { some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); a + b == 0; input.request }\n"})
	s.Sync(context.Background())
	s.want(`{"worse":"1"}`, "platform@three")
	if st := s.Status("default")[0]; !strings.Contains(fmt.Sprint(st.Problems), "fruit took more time") {
		t.Errorf("%+v", st.Problems)
	}
}

// TestInventory: policies see what Git declares of the kinds that they read.
func TestInventory(t *testing.T) {
	s := newScene(t)
	var asked []string
	stock := `{}`
	s.Inventory = func(kinds []string) []byte {
		asked = kinds
		return []byte(stock)
	}
	s.repo.commit("one", map[string]string{"rules/a.rego": `package fruit

deny contains sprintf("%s/%s has that apple", [ns, name]) if {
	some ns, name
	other := data.inventory.namespace[ns].v1.ConfigMap[name]
	other.data.apple == input.request.object.data.apple
}
`})
	s.use("rules")
	s.want(`{"apple":"red"}`, "")
	if fmt.Sprint(asked) != "[ConfigMap]" {
		t.Errorf("asked for %v", asked)
	}
	stock = `{"namespace":{"shop":{"v1":{"ConfigMap":{"basket":{"data":{"apple":"red"}}}}}}}`
	s.Look() // as whoever publishes an index does; the next question has it
	s.want(`{"apple":"red"}`, "shop/basket has that apple")
	s.want(`{"apple":"green"}`, "")
	stock = `{}`
	s.Look() // as whoever publishes an index does; the next question has it
	s.want(`{"apple":"red"}`, "")
}

// TestSlowOrigin: an Origin whose tree is not to be had now, for it is being
// fetched, delays nobody's policies, and its own come when it is.
func TestSlowOrigin(t *testing.T) {
	s := newScene(t)
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	s.repo.slow = make(chan struct{})
	began := time.Now()
	s.use("rules")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	s.want(`{}`, "have not been read yet")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go s.Run(ctx)
	close(s.repo.slow)
	for range 200 {
		if s.Ready() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.want(`{"bad":"1"}`, "platform@one")
}

// TestKeptNoLongerCompile: what was kept on disk by an older program, and does not
// compile under this one's built-ins, is not in force: nothing passes for want of
// what it would say.
func TestKeptNoLongerCompile(t *testing.T) {
	s := newScene(t)
	place := Place{Origin: "platform", Path: "rules"}
	text := map[string]string{"rules/a.rego": "package fruit\n\ndeny contains \"x\" if http.send({\"url\": \"http://127.0.0.1:1\"})\n"}
	files := policy.Files{"a.rego": []byte(text["rules/a.rego"])}
	if err := s.write(place, keptFile{Place: place, Revision: "old", Version: version{Digest: digest(files), Files: files}}); err != nil {
		t.Fatal(err)
	}
	s.repo.commit("old", text)
	s.use("rules")
	s.want(`{"bad":"1"}`, "error: ")
	if st := s.Status("default")[0]; st.Revision != "" || !strings.Contains(fmt.Sprint(st.Problems), "http.send is not for policies") {
		t.Errorf("%+v", st.Problems)
	}
	s.repo.commit("new", map[string]string{"rules/a.rego": noBad})
	s.Sync(context.Background())
	s.want(`{"bad":"1"}`, "platform@new")
}

// TestReadOnce: a directory is read once for each revision, however often others'
// Origins are looked at.
func TestReadOnce(t *testing.T) {
	s := newScene(t)
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	s.use("rules")
	for range 5 {
		s.Look()
		s.Sync(context.Background())
	}
	if s.repo.reads != 1 {
		t.Errorf("one revision was read %d times", s.repo.reads)
	}
	s.repo.commit("two", map[string]string{"rules/a.rego": noWorse})
	s.Sync(context.Background())
	s.want(`{"worse":"1"}`, "platform@two")
}

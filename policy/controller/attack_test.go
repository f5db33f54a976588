package controller

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/policy"
)

// the ring of recent requests has no bound in bytes once it is full of small ones.
func TestHostileRecentBytes(t *testing.T) {
	r := &recent{}
	for range mostRecent {
		r.note([]byte("{}"), false)
	}
	for range mostRecent {
		r.note(make([]byte, recentBytes/16), false)
	}
	if r.bytes > 2*recentBytes {
		t.Errorf("a Gate's recent requests hold %d MiB; the documented bound is %d MiB", r.bytes>>20, recentBytes>>20)
	}
}

const attStrict = "package fruit\n\ndeny contains \"all is bad\" if input.request.object.data.good\n"

// what newDenials held back comes into force by a restart.
func TestHostileNewDenialsForgotten(t *testing.T) {
	s := newScene(t)
	use := Use{Place: Place{Origin: "platform", Path: "rules"}, NewDenials: 20}
	gates := map[string][]Use{"default": {use}}
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	s.Want(gates)
	s.Sync(context.Background())
	for range 30 {
		s.want(`{"good":"1"}`, "")
	}
	s.repo.commit("two", map[string]string{"rules/a.rego": attStrict})
	s.Sync(context.Background())
	if st := s.Status("default")[0]; st.Refused != "two" {
		t.Fatalf("%+v", st)
	}
	again := newScene(t)
	again.repo, again.Controller.Trees, again.Dir = s.repo, s.repo, s.Dir
	again.Want(gates)
	again.Sync(context.Background())
	if st := again.Status("default")[0]; st.Revision != "one" {
		t.Errorf("after a restart %q is in force, which the trial refused: %s", st.Revision, again.ask(`{"good":"1"}`))
	}
}

// "raise newDenials there" does nothing.
func TestHostileNewDenialsRaised(t *testing.T) {
	s := newScene(t)
	use := Use{Place: Place{Origin: "platform", Path: "rules"}, NewDenials: 20}
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	s.Want(map[string][]Use{"default": {use}})
	s.Sync(context.Background())
	for range 30 {
		s.want(`{"good":"1"}`, "")
	}
	s.repo.commit("two", map[string]string{"rules/a.rego": attStrict})
	s.Sync(context.Background())
	use.NewDenials = 100
	s.Want(map[string][]Use{"default": {use}})
	s.Sync(context.Background())
	if st := s.Status("default")[0]; st.Revision != "two" {
		t.Errorf("newDenials is 100 now, and still: %+v", st.Problems)
	}
}

// a trial that fails for no fault of Git's is never held again.
func TestHostileTransientTrial(t *testing.T) {
	s := newScene(t)
	good := s.Worker.Command
	s.Worker.Command = []string{"/nowhere"} // fork failed, machine busy, ...
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	s.use("rules")
	s.Worker.Command = good
	for range 3 {
		s.Look()
		s.Sync(context.Background())
	}
	if got := s.ask(`{"bad":"1"}`); !strings.Contains(got, "bad is not good") {
		t.Errorf("the child could not be started once; since then: %s", got)
	}
}

// two places that each pass their trial, and do not fit together: the status
// lies, nothing changes for anybody any more, and after a restart everything is refused.
func TestHostileConvene(t *testing.T) {
	s := newScene(t)
	s.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	junk := "# " + strings.Repeat("x", 3_900_000) + "\n"
	files := map[string]string{"rules/a.rego": noBad}
	s.repo.commit("one", files)
	gates := map[string][]Use{"default": {{Place: Place{"platform", "rules"}}}, "tenant": {{Place: Place{"platform", "t1"}}, {Place: Place{"platform", "t2"}}}}
	files["t1/a.rego"], files["t2/a.rego"] = strings.ReplaceAll(noBad, "fruit", "t1"), strings.ReplaceAll(noBad, "fruit", "t2")
	s.repo.commit("two", files)
	s.Want(gates)
	s.Sync(context.Background())
	s.want(`{"bad":"1"}`, "bad is not good")
	// The tenant's next commit: each directory compiles alone.
	for i := range 26 { // 50 MiB each: no frame has room for both
		files[fmt.Sprintf("t%d/%d.yaml", i%2+1, i)] = junk
	}
	s.repo.commit("three", files)
	s.Sync(context.Background())
	t.Logf("tenant: %+v", s.Status("tenant")[0].Problems)
	// The platform team mends its policies: does anybody obey?
	files["rules/a.rego"] = noWorse
	s.repo.commit("four", files)
	s.Sync(context.Background())
	st := s.Status("default")[0]
	said := s.ask(`{"worse":"1"}`)
	t.Logf("status says %s is in force, problems %v; asked: %q", st.Revision, st.Problems, said)
	if st.Revision == "four" && said == "" {
		t.Error("the status says that the platform's revision four is in force, which denies worse; it is not, for what the tenant did")
	}
	again := newScene(t)
	again.repo, again.Controller.Trees, again.Dir = s.repo, s.repo, s.Dir
	again.Want(gates)
	again.Sync(context.Background())
	if got := again.ask(`{"good":"1"}`); strings.HasPrefix(got, "error") {
		t.Errorf("after a restart, for the Gate that has nothing to do with the tenant: %s; ready: %v; status problems %v", got, again.Ready(), again.Status("default")[0].Problems)
	}
}

// a trial takes (policies x budget x recent requests).
func TestHostileEndlessTrial(t *testing.T) {
	s := newScene(t)
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	s.use("rules")
	for i := range 200 {
		s.want(fmt.Sprintf(`{"good":"%d"}`, i), "")
	}
	files := map[string]string{"rules/a.rego": noBad}
	for i := range 40 {
		files[fmt.Sprintf("rules/p%d.rego", i)] = fmt.Sprintf("package p%d\n\ndeny contains \"x\" if { input.request; some a in numbers.range(1, 8); some b in numbers.range(1, 1000); a + b == 0 }\n", i)
	}
	s.repo.commit("two", files)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	done := make(chan struct{})
	began := time.Now()
	go func() { s.Sync(ctx); close(done) }()
	select {
	case <-done:
		t.Logf("the trial took %v: %v", time.Since(began), s.Status("default")[0].Problems)
	case <-time.After(40 * time.Second):
		t.Error("40 policies of some 20 ms and 200 requests: the trial goes on after 40 s, and its context ended at 5 s; with 1000 requests and 90 ms, and 400 policies, it is 10 hours")
	}
}

// a Gate with Policed and no uses known to the controller passes.
func TestHostileUnknownGate(t *testing.T) {
	s := newScene(t)
	s.repo.commit("one", map[string]string{"rules/a.rego": noBad})
	s.use("rules")
	found, err := s.Ask(context.Background(), "another", policy.Admission, []byte("{}"))
	if err == nil {
		t.Errorf("a Gate that the controller does not know: %v, and no error", found)
	}
}

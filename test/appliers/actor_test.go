package appliers

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
)

// actor is somebody who speaks to the API server through a tool, and a count of
// what they asked it to change.
type actor struct {
	lab  *lab
	user string

	mu       sync.Mutex
	writes   int // answered well, and meant
	dryRuns  int // answered well
	objects  map[string]bool
	denials  []string // by Gitward
	failures []string // by others
}

// actor is bound to all rights: only Gitward stands in the way.
func (l *lab) actor(user string) *actor {
	l.t.Helper()
	l.administrator(user)
	return &actor{lab: l, user: user, objects: map[string]bool{}}
}

// config is how the actor's tools reach the API server: as the user, counted,
// and by the user agent that the tool would have.
func (a *actor) config(agent string) *rest.Config {
	c := a.lab.plane.RESTConfig(controlplane.Admin)
	c.WarningHandler = rest.NoWarnings{}
	return a.dress(c, agent)
}

func (a *actor) dress(c *rest.Config, agent string) *rest.Config {
	c.QPS, c.UserAgent = -1, agent
	c.WarningHandler = rest.NoWarnings{}
	c.Impersonate = rest.ImpersonationConfig{UserName: a.user, Groups: groupsOf(a.user)}
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return meter{a, next} })
	return c
}

// groupsOf are those that the API server gives a service account.
func groupsOf(user string) []string {
	parts := strings.Split(user, ":")
	if len(parts) != 4 || parts[1] != "serviceaccount" {
		return nil
	}
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + parts[2], "system:authenticated"}
}

func (a *actor) dynamic(agent string) dynamic.Interface {
	return must(dynamic.NewForConfig(a.config(agent)))
}

// meter counts requests that change something.
type meter struct {
	actor *actor
	next  http.RoundTripper
}

func (m meter) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := m.next.RoundTrip(r)
	if err != nil || !changes(r) {
		return response, err
	}
	body := []byte(nil)
	if response.StatusCode >= 400 {
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
		response.Body = io.NopCloser(bytes.NewReader(body))
	}
	m.actor.count(r, response.StatusCode, string(body))
	return response, err
}

func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/apis/authorization.k8s.io/")
}

func (a *actor) count(r *http.Request, code int, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects[r.URL.Path] = true
	switch {
	case code >= 400 && strings.Contains(body, "denied the request"):
		a.denials = append(a.denials, fmt.Sprintf("%s %s: %.900s", r.Method, r.URL.RequestURI(), body))
	case code >= 400:
		a.failures = append(a.failures, fmt.Sprintf("%s %s: %d %.300s", r.Method, r.URL.RequestURI(), code, body))
	case strings.Contains(r.URL.RawQuery, "dryRun"):
		a.dryRuns++
	default:
		a.writes++
	}
}

// forget begins a new count.
func (a *actor) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writes, a.dryRuns, a.objects, a.denials, a.failures = 0, 0, map[string]bool{}, nil, nil
}

// tell prints the count and begins a new one. It fails if anything was denied,
// or if nothing at all was asked for.
func (a *actor) tell(t *testing.T, what string) (writes int) {
	t.Helper()
	defer a.forget()
	t.Logf("%s: %d paths, %d writes, %d dry runs, %d denied, %d failed otherwise", what, len(a.objects), a.writes, a.dryRuns, len(a.denials), len(a.failures))
	for _, d := range a.denials {
		t.Errorf("denied: %s", d)
	}
	if a.writes+a.dryRuns == 0 && len(a.denials) == 0 {
		t.Errorf("%s: nothing was asked for", what)
	}
	return a.writes
}

// attack is something that must not pass. dry runs ask without doing.
type attack struct {
	name string
	do   func(dry bool) error
}

// refuses plays attacks: first as dry runs with the gate off, where each must
// succeed, since otherwise its refusal proves nothing; then for real.
func (l *lab) refuses(a *actor, attacks ...attack) {
	l.t.Helper()
	l.gated(false)
	for _, x := range attacks {
		if err := x.do(true); err != nil {
			l.t.Errorf("%s: without the gate it fails too, and proves nothing: %v", x.name, err)
		}
	}
	l.gated(true)
	a.forget()
	l.mustRefuse(a, attacks...)
}

// mustRefuse plays attacks whose success without the gate is shown elsewhere.
func (l *lab) mustRefuse(a *actor, attacks ...attack) {
	l.t.Helper()
	for _, x := range attacks {
		before := a.writes
		err := x.do(false)
		switch {
		case err == nil:
			l.t.Errorf("%s: it passes", x.name)
		case len(a.denials) == 0 && !refused(err):
			l.t.Errorf("%s: not Gitward refused it: %v", x.name, err)
		case a.writes > before:
			l.t.Errorf("%s: refused, but %d writes passed before", x.name, a.writes-before)
		default:
			l.t.Logf("refused: %s: %s", x.name, firstDenial(a, err))
		}
		a.forget()
	}
}

func firstDenial(a *actor, err error) string {
	text := err.Error()
	if len(a.denials) > 0 {
		text = a.denials[0]
	}
	if _, after, ok := strings.Cut(text, "denied the request: "); ok {
		text = after
	}
	text, _, _ = strings.Cut(text, `\n`)
	text, _, _ = strings.Cut(text, "\n")
	return fmt.Sprintf("%.200s", text)
}

// merged are several sets of files as one.
func merged(sets ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, s := range sets {
		maps.Copy(out, s)
	}
	return out
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

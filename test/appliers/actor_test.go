package appliers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/server"
)

// actor is somebody who speaks to the API server through a tool, and a count of
// what they asked it to change.
type actor struct {
	lab  *lab
	user string
	// program is what the user agent of kubectl's library begins with.
	program string
	token   string

	mu       sync.Mutex
	writes   int      // answered well, and meant
	written  []string // those, by method and path
	last     []string // what was written when it was last told
	dryRuns  int      // answered well
	objects  map[string]bool
	denials  []string // by Gitward
	failures []string // by others
}

// actor is a service account, by a token of its own as a Pod has one, or a
// person, whom the administrator impersonates. Both have all rights: only Gitward
// stands in their way. It is to be called before the gate is shut.
func (l *lab) actor(user string) *actor {
	l.t.Helper()
	l.administrator(user)
	a := &actor{lab: l, user: user, program: "kubectl", objects: map[string]bool{}}
	account, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return a
	}
	namespace, name, _ := strings.Cut(account, ":")
	l.namespace(namespace)
	l.put("apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: " + namespace + ", name: " + name + "}\n")
	token, err := l.kube.CoreV1().ServiceAccounts(namespace).CreateToken(context.Background(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	l.check(err)
	a.token = token.Status.Token
	return a
}

// config is how the actor's tools reach the API server: as the user, counted,
// and by the user agent that the tool would have.
func (a *actor) config(agent string) *rest.Config {
	return a.dress(a.lab.plane.RESTConfig(controlplane.Admin), agent)
}

func (a *actor) dress(c *rest.Config, agent string) *rest.Config {
	c.QPS, c.UserAgent = -1, agent
	c.WarningHandler = rest.NoWarnings{}
	c.Impersonate = rest.ImpersonationConfig{UserName: a.user}
	if a.token != "" {
		c.Impersonate, c.BearerToken = rest.ImpersonationConfig{}, a.token
	}
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return meter{a, next} })
	return c
}

func (a *actor) dynamic(agent string) dynamic.Interface {
	return must(dynamic.NewForConfig(a.config(agent)))
}

func kubernetesFor(a *actor, agent string) (*kubernetes.Clientset, error) {
	return kubernetes.NewForConfig(a.config(agent))
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
		a.written = append(a.written, r.Method+" "+r.URL.Path)
	}
}

// forget begins a new count.
func (a *actor) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writes, a.dryRuns, a.written, a.objects, a.denials, a.failures = 0, 0, nil, map[string]bool{}, nil, nil
}

// tell prints the count and begins a new one. It fails if anything was denied,
// or if nothing at all was asked for.
func (a *actor) tell(t *testing.T, what string) {
	t.Helper()
	a.last = a.written
	defer a.forget()
	t.Logf("%s: %d paths, %d writes, %d dry runs, %d denied, %d failed otherwise", what, len(a.objects), a.writes, a.dryRuns, len(a.denials), len(a.failures))
	for _, d := range a.denials {
		t.Errorf("denied: %s", d)
	}
	if a.writes+a.dryRuns == 0 && len(a.denials) == 0 {
		t.Errorf("%s: nothing was asked for", what)
	}
}

// attack is something that must not pass. dry runs ask without doing.
type attack struct {
	name string
	do   func(dry bool) error
	// besides begins the writes on the way that Git stands behind: "PATCH /apis/…".
	besides string
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
		err := x.do(false)
		passed := slices.DeleteFunc(a.written, func(w string) bool { return x.besides != "" && strings.HasPrefix(w, x.besides) })
		switch {
		case err == nil:
			l.t.Errorf("%s: it passes", x.name)
		case len(a.denials) == 0 && !server.Refused(err):
			l.t.Errorf("%s: not Gitward refused it: %v", x.name, err)
		case len(passed) > 0:
			l.t.Errorf("%s: refused, but these passed: %q", x.name, passed)
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

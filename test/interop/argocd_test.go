package interop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitward/gitward/test/interop/tools"
	"github.com/gitward/gitward/test/server"
)

const (
	argoNamespace   = "argocd"
	argoController  = "argocd-application-controller"
	argoSets        = "argocd-applicationset-controller"
	argoUser        = "system:serviceaccount:" + argoNamespace + ":" + argoController
	argoSetsUser    = "system:serviceaccount:" + argoNamespace + ":" + argoSets
	argoApplication = "argoproj.io/v1alpha1 Application " + argoNamespace + "/"
)

// argo is Argo CD in the lab: its controller, its repo server and a Redis, and
// the controller of ApplicationSets where a story has some.
type argo struct {
	*lab
	controller, repos, redis, sets *daemon
	applications                   []string
	resync                         int // seconds from one comparison to the next
}

func (a *argo) users() []string {
	if a.sets != nil {
		return []string{argoUser, argoSetsUser}
	}
	return []string{argoUser}
}

func (a *argo) programs() (*daemon, []*daemon) {
	feeds := []*daemon{a.redis, a.repos}
	if a.sets != nil {
		feeds = append(feeds, a.sets)
	}
	return a.controller, feeds
}

func (a *argo) manager() string    { return "argocd-controller" }
func (a *argo) adopted(string) int { return 0 }

// strict: what Argo CD never applied is no difference to it.
func (a *argo) strict() bool { return false }
func (a *argo) last() string { return a.applications[len(a.applications)-1] }

func (a *argo) mark(u *unstructured.Unstructured) {
	u.SetAnnotations(map[string]string{"argocd.argoproj.io/tracking-id": fmt.Sprintf("%s:%s/%s:%s/%s",
		a.last(), u.GroupVersionKind().Group, u.GetKind(), u.GetNamespace(), u.GetName())})
}

func (a *argo) astray() (object, edit string) {
	return argoApplication + a.last(), `{"spec":{"source":{"path":"elsewhere"}}}`
}

func (a *argo) edits() map[string][]string {
	edits := map[string][]string{}
	for _, name := range a.applications {
		edits[argoApplication+name] = []string{`{"spec":{"source":{"path":"elsewhere"}}}`, `{"spec":{"source":{"targetRevision":"other"}}}`,
			`{"spec":{"syncPolicy":null}}`, `{"metadata":{"annotations":{"argocd.argoproj.io/skip-reconcile":"true"}}}`}
	}
	return edits
}

// reconciled reports whether every Application is in sync with a commit.
func (a *argo) reconciled(commit string) error {
	for _, name := range a.applications {
		u, err := a.get(argoApplication + name)
		if err != nil {
			return err
		}
		status, _, _ := unstructured.NestedString(u.Object, "status", "sync", "status")
		revision, _, _ := unstructured.NestedString(u.Object, "status", "sync", "revision")
		phase, _, _ := unstructured.NestedString(u.Object, "status", "operationState", "phase")
		if status != "Synced" || revision != commit || phase != "Succeeded" {
			message, _, _ := unstructured.NestedString(u.Object, "status", "operationState", "message")
			conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
			return fmt.Errorf("%s is %s at %q, not at %s; its operation %s: %s; %v", name, status, revision, commit, phase, message, conditions)
		}
	}
	return nil
}

// again: Argo CD compares in its own memory, so that what it asks the API
// server for is what it writes. How often it compared stands in the status of
// its Applications, which is no subresource and its own affair.
func (a *argo) again(since mark, times int) map[string]*tally {
	a.t.Helper()
	looks := map[string]map[string]bool{}
	server.Await(a.t, "more comparisons", a.patience(), func() error {
		for _, name := range a.applications {
			u, err := a.get(argoApplication + name)
			if err != nil {
				return err
			}
			at, _, _ := unstructured.NestedString(u.Object, "status", "reconciledAt")
			if looks[name] == nil {
				looks[name] = map[string]bool{}
			}
			looks[name][at] = true
		}
		for name, seen := range looks {
			if len(seen) <= times {
				return fmt.Errorf("%s was compared %d times", name, len(seen)-1)
			}
		}
		return nil
	})
	tallies := a.tallies(since.requests, a.users()...)
	maps.DeleteFunc(tallies, func(object string, c *tally) bool {
		// A set whose template has the annotation that asks for a refresh puts it
		// back as often as the other controller takes it away.
		return strings.HasPrefix(object, "applications.argoproj.io ") && !c.changesSpec() ||
			strings.HasPrefix(object, "applicationsets.argoproj.io/status ") && c.denied == 0
	})
	return tallies
}

// changesSpec reports whether one of the writes is about more than a status, an
// operation or a note to the controller itself.
func (c *tally) changesSpec() bool {
	for _, w := range c.written {
		if strings.Contains(w, `"spec":`) && !strings.Contains(w, `{"status":`) {
			return true
		}
	}
	return c.denied > 0
}

// application is an Application of a directory of plain files as the repository
// has it.
func application(l *lab, name, path, namespace string, options ...string) string {
	return applicationOf(l, name, namespace, "path: "+path+"\n    directory: {recurse: true}", options...)
}

// applicationOf is an Application of any source. Without refresh, what was
// refused is tried again at its old commit until all tries are used up.
func applicationOf(l *lab, name, namespace, source string, options ...string) string {
	more := ""
	if len(options) > 0 {
		more = "    syncOptions: [" + strings.Join(options, ", ") + "]\n"
	}
	return fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: %s
  namespace: argocd
spec:
  project: default
  destination: {server: https://kubernetes.default.svc, namespace: %s}
  source:
    repoURL: %s
    targetRevision: main
    %s
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    retry: {limit: 2, refresh: true, backoff: {duration: 1s, maxDuration: 3s}}
%s`, name, namespace, l.repoURL(), source, more)
}

// argoStage brings Argo CD into a new cluster, as a person does once, with a
// repository of the story's files and the Applications. Nothing runs yet.
func argoStage(t *testing.T, s story, applications func(l *lab) string) (*stage, string) {
	l := newLab(t)
	files := maps.Clone(s.files)
	files["clusters/test/applications.yaml"] = applications(l)
	root := application(l, "root", "clusters/test", argoNamespace)
	files["clusters/test/root.yaml"] = root
	a := &argo{lab: l, applications: append([]string{"root"}, s.units...), resync: 3}
	a.install()
	l.putYAML(root)
	a.prepare()
	return &stage{lab: l, applier: a, story: s, files: files}, l.commit(files)
}

// install puts into the cluster what Argo CD's own manifests have, as far as the
// two programs look at it.
func (a *argo) install() {
	a.t.Helper()
	a.namespace(argoNamespace)
	dir, err := tools.ArgoCD.Sources(context.Background())
	a.check(err)
	for _, name := range []string{"application-crd.yaml", "applicationset-crd.yaml", "appproject-crd.yaml"} {
		text, err := os.ReadFile(filepath.Join(dir, "manifests", "crds", name))
		a.check(err)
		a.putYAML(string(text))
	}
	config, err := filepath.Glob(filepath.Join(dir, "manifests", "base", "config", "argocd-*.yaml"))
	a.check(err)
	for _, file := range config {
		text, err := os.ReadFile(file)
		a.check(err)
		for _, object := range parse(a.t, string(text)) {
			object["metadata"].(map[string]any)["namespace"] = argoNamespace
			a.put(object)
		}
	}
	a.secret(argoNamespace, "argocd-secret", map[string]string{"server.secretkey": "not a secret"})
	a.putYAML("apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: default, namespace: argocd}\n" +
		"spec: {sourceRepos: ['*'], destinations: [{namespace: '*', server: '*'}], clusterResourceWhitelist: [{group: '*', kind: '*'}]}\n")
	for _, name := range []string{argoController, "argocd-repo-server", argoSets} {
		a.putYAML(fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, namespace: %s}\n", name, argoNamespace))
		a.bindAdmin(name, map[string]any{"kind": "ServiceAccount", "name": name, "namespace": argoNamespace})
	}
}

// playArgo plays a story with Argo CD.
func playArgo(t *testing.T, s story, applications func(l *lab) string) {
	need(t, "argocd")
	on, tip := argoStage(t, s, applications)
	on.trust(tip, s.render)
	on.gated(true)
	on.play(t, tip)
}

// TestArgoPlain: directories of plain YAML, applied as kubectl does.
func TestArgoPlain(t *testing.T) {
	playArgo(t, argoStory(), func(l *lab) string { return application(l, "plain", "apps/plain", "shop") })
}

// TestArgoServerSide: the same with server-side apply.
func TestArgoServerSide(t *testing.T) {
	playArgo(t, argoStory(), func(l *lab) string { return application(l, "plain", "apps/plain", "shop", "ServerSideApply=true") })
}

// TestArgoOmitted: an Application with fields at the zero value, as many have
// them in Git. The controller writes the whole object from its own Go types,
// which leave those out.
func TestArgoOmitted(t *testing.T) {
	need(t, "argocd")
	s, tip := argoStage(t, argoStory(), func(l *lab) string {
		return strings.NewReplacer("directory: {recurse: true}", "directory: {recurse: true, jsonnet: {}, exclude: \"\"}",
			"selfHeal: true}\n", "selfHeal: true, allowEmpty: false}\n    syncOptions: []\n").
			Replace(application(l, "plain", "apps/plain", "shop")) + "  ignoreDifferences: []\n  info: []\n"
	})
	s.trust(tip, nil)
	s.gated(true)
	defer s.tellAtEnd(t)
	begin := s.lab.mark()
	t.Run("everything that is applied is admitted", s.chapter(func(t *testing.T) { s.first(t, begin, tip) }))
	table(t, "what was asked for", s.tallies(begin.requests, s.users()...))
}

// argoStory is the plain one, of which Argo CD needs nothing else.
func argoStory() story {
	s := plainStory()
	delete(s.files, "clusters/test/apps.yaml")
	s.render = nil
	return s
}

// TestArgoAlone is the control: the same repository without Gitward.
func TestArgoAlone(t *testing.T) {
	need(t, "argocd")
	s, tip := argoStage(t, argoStory(), func(l *lab) string { return application(l, "plain", "apps/plain", "shop") })
	defer s.tellAtEnd(t)
	begin := s.lab.mark()
	s.run(t)
	server.Await(t, "the first synchronisation", patience, func() error { return s.reconciled(tip) })
	table(t, "the first synchronisation", s.tallies(begin.requests, argoUser))
	s.second(t)
	tallies := s.again(s.lab.mark(), 4)
	for object, c := range tallies {
		if c.writes > 0 {
			t.Errorf("%s: %d writes without Gitward\n%v", object, c.writes, c.written)
		}
	}
	table(t, "4 more comparisons", tallies)
}

package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex"
)

// application is an Argo CD Application over a path of a repository.
func application(name, url, path, more string) string {
	return fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %s, namespace: argocd}
spec:
  project: default
  source: {repoURL: %q, path: %q, targetRevision: main}
  destination: {server: https://kubernetes.default.svc, namespace: shop}
%s`, name, url, path, more)
}

func TestApplicationsOpenUnits(t *testing.T) {
	w, c := renderScene(t)
	url := w.settings.Spec.URL
	first := w.commit(w.ada, map[string]string{
		"clusters/prod/app.yaml":  application("web", url, "apps/web", ""),
		"apps/web/cm.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		"apps/other/cm.yaml":      cm("other", "1"),
		"clusters/prod/root.yaml": application("root", url, "clusters/prod", ""),
	})
	s := w.sync()
	w.want(s, "a", first)
	m := s.Lookup(shopOf("a")).Current
	if len(m) != 1 || m[0].Unit != "Application.argoproj.io argocd/web" || m[0].Applier == nil || m[0].Applier.ArgoApplication != "web" {
		t.Fatalf("the object of the Application is %+v; problems %v", m, s.Problems)
	}
	w.want(s, "other", first)
	app := gitindex.Ref{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "web"}
	if e := s.Lookup(app); e == nil || e.Current[0].Unit != "Application.argoproj.io argocd/root" {
		t.Errorf("the app of apps does not declare its Applications: %+v", e)
	}
	c.since()
	second := w.commit(w.ada, map[string]string{"clusters/prod/app.yaml": application("web", url, "apps/web", "  info: [{name: a, value: b}]\n")})
	s = w.sync()
	w.want(s, "a", first) // the Application changed, not what it renders to
	if e := s.Lookup(app); e.Current[0].Commit.ID != second {
		t.Errorf("the Application is traced to %s", e.Current[0].Commit.Short())
	}
	w.commit(w.alien, map[string]string{"clusters/prod/evil.yaml": application("evil", url, "apps/other", "")})
	s = w.sync()
	if e := s.Lookup(gitindex.Ref{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "evil"}); e != nil && len(e.Current) > 0 {
		t.Error("a stranger's Application counts")
	}
	gone := w.commit(w.ada, map[string]string{"clusters/prod/app.yaml": ""})
	s = w.sync()
	if w.from(s, "a") != gone && s.Lookup(shopOf("a")) != nil && len(s.Lookup(shopOf("a")).Current) > 0 && s.Lookup(shopOf("a")).Current[0].Unit != "" {
		t.Error("what the removed Application rendered still counts")
	}
}

// TestNeighbours: an Application of one repository renders another one's
// content; that counts for the other, and names who opened it.
func TestNeighbours(t *testing.T) {
	platform, tenant := newScene(t), newScene(t)
	platform.settings.Renderer, tenant.settings.Renderer = &counted{}, &counted{}
	tenant.settings.Name = "tenant"
	tenant.settings.Spec.Render = nil
	platform.commit(platform.ada, map[string]string{"app.yaml": application("team", tenant.settings.Spec.URL, "deploy", "")})
	inside := tenant.commit(tenant.ben, map[string]string{"deploy/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})
	s := platform.sync()
	if !strings.Contains(fmt.Sprint(s.Problems), "which no Origin tracks") {
		t.Errorf("problems: %v", s.Problems)
	}
	tenant.sync()
	trackers := map[string]*Tracker{"platform": platform.tracker, "tenant": tenant.tracker}
	if news := meet(trackers); len(news) != 2 {
		t.Fatalf("new to %v", news)
	}
	if s = platform.sync(); len(s.Problems) > 0 {
		t.Errorf("problems: %v", s.Problems)
	}
	s = tenant.sync()
	tenant.want(s, "a", inside)
	m := opened(s)
	if m == nil || m.Origin != "tenant" || m.Via != "platform" || m.Unit != "Application.argoproj.io argocd/team" {
		t.Errorf("the object is of %s via %q, %s", m.Origin, m.Via, m.Unit)
	}
	if news := meet(trackers); len(news) != 0 {
		t.Errorf("again new to %v", news)
	}
	tenant.restart()
	trackers["tenant"] = tenant.tracker
	if m := opened(tenant.tracker.Snapshot()); m == nil || m.Via != "platform" {
		t.Errorf("after a restart: %v", m)
	}
	platform.commit(platform.ada, map[string]string{"app.yaml": ""})
	platform.sync()
	meet(trackers)
	if m := opened(tenant.sync()); m != nil {
		t.Error("the unit outlives its Application")
	}
}

// opened is the manifest of shop/a that an opener made; nil if there is none.
func opened(s *gitindex.Snapshot) *gitindex.Manifest {
	for _, m := range s.Lookup(shopOf("a")).Current {
		if m.Unit != "" {
			return m
		}
	}
	return nil
}

// TestHelmChartElsewhere: a HelmRelease that names a HelmChart takes its chart
// from where that one's source is, and not from the tree at hand because a
// directory of it has the same name.
func TestHelmChartElsewhere(t *testing.T) {
	for _, test := range []struct {
		url  string
		here bool
	}{{"", true}, {"https://git.example.org/other.git", false}} {
		w := newScene(t)
		w.settings.Renderer = &counted{}
		url := or(test.url, w.settings.Spec.URL)
		w.commit(w.ada, map[string]string{
			"release.yaml": "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: rel, namespace: shop}\nspec:\n  interval: 1h\n  chartRef: {kind: HelmChart, name: web}\n",
			"sources.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmChart\nmetadata: {name: web, namespace: shop}\nspec:\n  interval: 1h\n  chart: ./charts/web\n  sourceRef: {kind: GitRepository, name: charts}\n" +
				"---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: charts, namespace: shop}\nspec:\n  interval: 1h\n  url: " + url + "\n  ref: {branch: main}\n",
			"charts/web/Chart.yaml":        chartYAML,
			"charts/web/templates/cm.yaml": chartTemplate("1"),
		})
		s := w.sync()
		e := s.Lookup(shopOf("rel-cm"))
		if here := e != nil && len(e.Current) > 0; here != test.here {
			t.Errorf("%s: rendered here: %v; problems: %v", url, here, s.Problems)
		}
		if told := strings.Contains(fmt.Sprint(s.Problems), "other.git (main), which no Origin tracks"); told == test.here {
			t.Errorf("%s: problems: %v", url, s.Problems)
		}
	}
}

// TestPasswordsInProblems: whatever names a URL with a password in it is told
// without the password.
func TestPasswordsInProblems(t *testing.T) {
	const password = "hunter2"
	release := func(name, chart string) string {
		return "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: " + name + ", namespace: shop}\nspec:\n  interval: 1h\n  " + chart + "\n"
	}
	source := func(kind, name, spec string) string {
		return "apiVersion: source.toolkit.fluxcd.io/v1\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: shop}\nspec: {interval: 1h, " + spec + "}\n"
	}
	w := newScene(t)
	w.settings.Renderer = &counted{}
	w.settings.Spec.Render = nil
	files := map[string]string{
		"a.yaml": application("web", "https://ada:"+password+"@git.example.org/web.git", "deploy", ""),
		"b.yaml": release("git", "chart: {spec: {chart: ./web, sourceRef: {kind: GitRepository, name: git}}}"),
		"c.yaml": source("GitRepository", "git", "url: 'https://"+password+"@git.example.org/charts.git'"),
		"d.yaml": release("repo", "chart: {spec: {chart: web, version: 1.0.0, sourceRef: {kind: HelmRepository, name: repo}}}"),
		"e.yaml": source("HelmRepository", "repo", "url: 'https://ada:"+password+"@charts.example.org'"),
		"f.yaml": release("typed", "chart: {spec: {chart: web, version: 1.0.0, sourceRef: {kind: HelmRepository, name: typed}}}"),
		"g.yaml": source("HelmRepository", "typed", "type: oci, url: 'https://ada:"+password+"@oci.example.org'"),
		"h.yaml": release("oci", "chartRef: {kind: OCIRepository, name: oci}"),
		"i.yaml": source("OCIRepository", "oci", "url: 'oci://ada:"+password+"@oci.example.org/web', ref: {tag: 1.0.0}"),
		"j.yaml": "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: base, namespace: shop}\n" +
			"spec: {interval: 1h, prune: true, path: ./based, sourceRef: {kind: GitRepository, name: here}}\n",
		"k.yaml":                   source("GitRepository", "here", "url: '"+w.settings.Spec.URL+"', ref: {branch: main}"),
		"based/kustomization.yaml": "resources: ['https://ada:" + password + "@git.example.org/base//prod?ref=v1']\n",
	}
	w.commit(w.ada, files)
	var told []string
	for _, p := range w.sync().Problems {
		told = append(told, p.String())
	}
	all := strings.Join(told, "\n")
	if strings.Contains(all, password) {
		t.Errorf("the password is shown:\n%s", all)
	}
	for _, host := range []string{"git.example.org/web.git", "git.example.org/charts.git", "charts.example.org", "https://oci.example.org", "oci://oci.example.org", "git.example.org/base"} {
		if !strings.Contains(all, host) {
			t.Errorf("no problem names %s:\n%s", host, all)
		}
	}
}

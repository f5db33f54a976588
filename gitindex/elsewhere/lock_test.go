package elsewhere

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
)

var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	commitB = strings.Repeat("b", 40)
)

const head = "apiVersion: gitward.dev/v1alpha1\nkind: Lock\n"

func TestLockFile(t *testing.T) {
	l := &Lock{
		Charts: []LockedChart{{Repository: "https://charts.example.org", Name: "redis", Version: ">=1 <2", Resolved: "1.4.2", Digest: digestA},
			{OCI: "oci://ghcr.io/acme/redis", Digest: digestA}, {Repository: "https://charts.example.org", Name: "postgres", Version: "1.10", Resolved: "1.10", Digest: digestA}},
		Bases: []LockedBase{{URL: "https://github.com/acme/app?ref=v1", Commit: commitB}, {URL: "https://example.org/a.yaml", Digest: digestA}},
	}
	want := `# What charts and bases from elsewhere are. "gitward lock" writes this file.
apiVersion: gitward.dev/v1alpha1
kind: Lock
charts:
  - oci: oci://ghcr.io/acme/redis
    digest: ` + digestA + `
  - repository: https://charts.example.org
    name: postgres
    version: "1.10"
    resolved: "1.10"
    digest: ` + digestA + `
  - repository: https://charts.example.org
    name: redis
    version: '>=1 <2'
    resolved: 1.4.2
    digest: ` + digestA + `
bases:
  - url: https://example.org/a.yaml
    digest: ` + digestA + `
  - url: https://github.com/acme/app?ref=v1
    commit: ` + commitB + `
`
	if diff := cmp.Diff(want, l.String()); diff != "" {
		t.Error(diff)
	}
	again, err := ParseLock([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l, again); diff != "" {
		t.Error(diff)
	}
	for _, ref := range []render.ChartRef{{Repository: "https://charts.example.org/", Name: "redis", Version: ">=1 <2"}, {OCI: "oci://ghcr.io/acme/redis/", Name: "redis", Version: "*"}} {
		if pin, ok := again.Chart(ref); !ok || pin.Digest != digestA {
			t.Errorf("%v is not found", ref)
		}
	}
	for _, ref := range []render.ChartRef{{Repository: "https://charts.example.org", Name: "redis"}, {Repository: "https://charts.example.org", Name: "redis", Version: "1.4.2"}, {OCI: "oci://ghcr.io/acme/other"}, {}} {
		if pin, ok := again.Chart(ref); ok {
			t.Errorf("%v is %v", ref, pin)
		}
	}
	if pin, ok := again.Base("https://github.com/acme/app?ref=v1"); !ok || pin.Digest != "sha1:"+commitB {
		t.Error(pin, ok)
	}
	if _, ok := again.Base("https://github.com/acme/app"); ok {
		t.Error("a base without its ref is found")
	}
}

func TestLockFileIsStrict(t *testing.T) {
	chart := "charts:\n- {repository: https://x.org, name: redis, digest: " + digestA + "}\n"
	if _, err := ParseLock([]byte(head + chart)); err != nil {
		t.Fatal(err)
	}
	for text, say := range map[string]string{
		"": "it is empty",
		"apiVersion: gitward.dev/v1\nkind: Lock\n": `"gitward.dev/v1"`,
		"kind: Lock\n":                               "want a Lock of",
		head + "chart: []\n":                         `line 3: unknown field "chart"`,
		head + "charts:\n- {oci: x, digset: y}\n":    `line 4: unknown field "digset"`,
		head + "charts: {}\n":                        "line 3: want a list",
		head + "charts:\n- x\n":                      "line 4: want a mapping",
		head + "charts:\n- {oci: 'oci://x.org/a'}\n": "line 4: want a digest",
		head + chart + "- {oci: 'oci://x.org/a', digest: sha256:abc}\n":                                           "line 5: want a digest",
		head + chart + "- {repository: https://x.org/, name: redis, digest: " + digestA + "}\n":                   "line 5: chart https://x.org redis stands there twice",
		head + "charts:\n- {oci: 'oci://x.org/a', repository: https://x.org, name: a, digest: " + digestA + "}\n": "line 4: refused: want a repository or an OCI",
		head + "charts:\n- {repository: https://x.org, digest: " + digestA + "}\n":                                "no name",
		head + "charts:\n- {repository: 'file:///x', name: a, digest: " + digestA + "}\n":                         "scheme",
		head + "charts:\n- {repository: 'https://a:pw@x.org', name: a, digest: " + digestA + "}\n":                "a user in the URL",
		head + "charts:\n- {repository: https://x.org, name: a, name: b, digest: " + digestA + "}\n":              `"name" stands there twice`,
		head + "charts:\n- {repository: https://x.org, name: a, version: [1], digest: " + digestA + "}\n":         "want a text",
		head + "charts:\n- {repository: https://x.org, name: a, version: , digest: " + digestA + "}\n":            "want a text",
		head + "charts:\n- &a {repository: https://x.org, name: a, digest: " + digestA + "}\n- *a\n":              "want a mapping",
		head + "bases:\n- {url: x}\n": "line 4: want either a commit",
		head + "bases:\n- {url: x, commit: " + commitB + ", digest: " + digestA + "}\n":                             "want either",
		head + "bases:\n- {url: x, commit: " + commitB[1:] + "}\n":                                                  "want either",
		head + "bases:\n- {commit: " + commitB + "}\n":                                                              "want a url",
		head + "bases:\n- {url: x, commit: " + commitB + "}\n- {url: x, commit: " + strings.Repeat("c", 40) + "}\n": "stands there twice",
		head + "---\n" + head:                 "more than one document",
		head + "charts: [\n":                  "line",
		head + strings.Repeat("# x\n", 2<<20): "larger than",
		"- a\n":                               "want a mapping",
	} {
		l, err := ParseLock([]byte(text))
		if err == nil || !strings.Contains(err.Error(), say) || !strings.HasPrefix(err.Error(), LockPath+": ") || l != nil {
			t.Errorf("%.120s: %v, want %q", text, err, say)
		}
	}
}

const fluxTree = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: acme, namespace: flux-system}
spec: {url: https://charts.example.org/}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: registry, namespace: flux-system}
spec: {url: oci://ghcr.io/acme/charts, type: oci}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: app}
spec: {url: oci://ghcr.io/acme/app, ref: {tag: 1.2.3}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: a, namespace: shop}
spec: {chart: {spec: {chart: redis, version: 1.x, sourceRef: {kind: HelmRepository, name: acme, namespace: flux-system}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: b, namespace: flux-system}
spec: {chart: {spec: {chart: postgres, sourceRef: {kind: HelmRepository, name: registry}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: c, namespace: shop}
spec: {chartRef: {kind: OCIRepository, name: app}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: d, namespace: shop}
spec: {chart: {spec: {chart: x, sourceRef: {kind: HelmRepository, name: nobody}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: e, namespace: shop}
spec: {chart: {spec: {chart: ./charts/x, sourceRef: {kind: GitRepository, name: flux-system}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: f, namespace: flux-system}
spec: {chart: {spec: {chart: redis, version: "${VERSION}", sourceRef: {kind: HelmRepository, name: acme}}}}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: g}
spec: {source: {repoURL: https://argo.example.org, chart: web, targetRevision: 2.0.0}}
`

func TestNeeds(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tree := fstest.MapFS{
		"flux.yaml":                            file(fluxTree),
		"app/kustomization.yaml":               file("resources:\n- ../base\n- https://github.com/acme/app//k8s?ref=v1\n- https://github.com/acme/app//k8s?ref=" + commitB + "\ncomponents: [git@github.com:acme/app]\nhelmCharts:\n- {name: k, repo: https://k.example.org, version: 1.0.0}\n"),
		"charts/web/Chart.yaml":                file("name: web\ndependencies:\n- {name: redis, version: 17.x, repository: https://dep.example.org}\n- {name: in, version: 1.x, repository: https://dep.example.org}\n- {name: tgz, version: 1.x, repository: https://dep.example.org}\n- {name: l, version: 1, repository: file://../l}\n"),
		"charts/web/Chart.lock":                file("dependencies:\n- {name: redis, version: 17.3.0, repository: https://dep.example.org}\n"),
		"charts/web/charts/in/Chart.yaml":      file("name: in\n"),
		"charts/web/charts/tgz-1.0.0.tgz":      file("x"),
		"charts/web/templates/release.yaml":    file(strings.ReplaceAll(fluxTree, "example.org", "never.example.org")),
		"charts/web/templates/deep/flux2.yaml": file(strings.ReplaceAll(fluxTree, "example.org", "never.example.org")),
		".git/x.yaml":                          file(strings.ReplaceAll(fluxTree, "example.org", "never.example.org")),
		"broken.yaml":                          file("a: [\n"),
	}
	needs, problems := Needs(tree)
	var got []string
	for _, n := range needs {
		line := n.What()
		if n.Fixed() {
			line += " (fixed)"
		}
		got = append(got, line)
	}
	want := []string{
		"base git@github.com:acme/app",
		"base https://github.com/acme/app//k8s?ref=" + commitB + " (fixed)",
		"base https://github.com/acme/app//k8s?ref=v1",
		"chart https://argo.example.org web 2.0.0",
		"chart https://charts.example.org/ redis 1.x",
		"chart https://dep.example.org redis 17.3.0",
		"chart https://k.example.org k 1.0.0",
		"chart oci://ghcr.io/acme/app 1.2.3",
		"chart oci://ghcr.io/acme/charts/postgres",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(problems) != 2 || !strings.Contains(problems[0].Message, "which no file declares") || !strings.Contains(problems[1].Message, "depends on a variable") || problems[0].Line != 32 {
		t.Errorf("%v", problems)
	}

	lock := &Lock{}
	lock.Add(needs[2], render.Pin{Digest: "sha1:" + commitB})
	lock.Add(needs[4], render.Pin{Digest: digestA, Version: "1.4.0"})
	lock.Add(Need{Base: "https://example.org/old.yaml"}, render.Pin{Digest: digestA})
	if missing := lock.Missing(needs); len(missing) != 6 {
		t.Errorf("%d are missing: %v", len(missing), missing)
	}
	kept, gone := lock.Only(needs)
	if len(kept.Charts) != 1 || len(kept.Bases) != 1 || len(gone.Charts) != 0 || len(gone.Bases) != 1 {
		t.Errorf("kept %v, gone %v", kept, gone)
	}
	if _, err := ParseLock([]byte(lock.String())); err != nil {
		t.Error(err)
	}
}

// TestResolve: what "gitward lock" writes is what a Store then takes.
func TestResolve(t *testing.T) {
	h := newHost(t)
	h.publish(t, "1.0.0", "1.1.0")
	h.put("/a.yaml", []byte("kind: ConfigMap\n"))
	needs := []Need{{Chart: h.redis("1.x")}, {Base: h.URL + "/a.yaml"}}
	s := store(t, h.entry())
	s.Lock = &Lock{Charts: []LockedChart{{Repository: h.URL, Name: "redis", Version: "1.x", Resolved: "0.0.1", Digest: digestA}}}
	lock := &Lock{}
	for _, n := range needs {
		pin, err := s.Resolve(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		lock.Add(n, pin)
	}
	if len(lock.Missing(needs)) > 0 || lock.Charts[0].Resolved != "1.1.0" {
		t.Errorf("%v", lock)
	}
	if diff := cmp.Diff([]string{h.name}, s.HostsUsed()); diff != "" {
		t.Error(diff)
	}
	used := store(t, h.entry())
	var err error
	if used.Lock, err = ParseLock([]byte(lock.String())); err != nil {
		t.Fatal(err)
	}
	if _, pin := must(t, used, h.redis("1.x")); pin != lock.Charts[0].Pin() {
		t.Errorf("%v", pin)
	}
	if _, pin, err := used.Base(h.URL + "/a.yaml"); err != nil || pin != lock.Bases[0].Pin() {
		t.Error(pin, err)
	}
	_, err = s.Resolve(t.Context(), Need{Chart: h.redis("9.x")})
	if !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// TestAsked: what a rendering asks for is what is to be locked, got or not.
func TestAsked(t *testing.T) {
	h := newHost(t)
	h.publish(t, "1.0.0")
	s := store(t, h.entry())
	a := &Asked{Of: s}
	for range 2 {
		var needs *render.NeedsError
		if _, _, err := a.Chart(h.redis("1.x")); !errors.As(err, &needs) {
			t.Error(err)
		}
		if _, _, err := a.Base("https://github.com/acme/app?ref=" + commitB); err == nil {
			t.Error("a base comes from nowhere")
		}
	}
	needs := a.Needs()
	if len(needs) != 2 || needs[0].Chart != h.redis("1.x") || needs[0].Fixed() || !needs[1].Fixed() {
		t.Fatalf("%v", needs)
	}
	pin, err := s.Resolve(t.Context(), needs[0])
	if err != nil {
		t.Fatal(err)
	}
	s.Lock = &Lock{}
	s.Lock.Add(needs[0], pin)
	if _, got, err := a.Chart(h.redis("1.x")); err != nil || got != pin {
		t.Error(got, err)
	}
}

// TestNeedsOfTheCorpus counts what real repositories take from elsewhere.
func TestNeedsOfTheCorpus(t *testing.T) {
	root := corpus.Dir(t)
	total := 0
	for _, tree := range []string{"flux/xunholy-k8s-gitops", "flux/flux2-kustomize-helm-example", "flux/flux2-multi-tenancy", "argocd/infra-deployments", "helm/argo-helm", "helm/prometheus-community", "kustomize/kubeflow-manifests", "kustomize/gitops-catalog"} {
		needs, problems := Needs(os.DirFS(filepath.Join(root, tree)))
		charts, fixed := 0, 0
		for _, n := range needs {
			if n.Base == "" {
				charts++
				if err := checkRef(n.Chart); err != nil {
					t.Errorf("%s: %v", n.What(), err)
				}
			} else if _, err := parseBase(n.Base); err != nil {
				t.Errorf("%s: %v", n.What(), err)
			}
			if n.Fixed() {
				fixed++
			}
		}
		t.Logf("%-36s %3d charts %3d bases, %d of them fixed by themselves, %d problems", tree, charts, len(needs)-charts, fixed, len(problems))
		for _, p := range problems {
			t.Log("  ", p)
		}
		total += len(needs)
	}
	if total < 70 {
		t.Errorf("only %d needs were found", total)
	}
}

func FuzzLock(f *testing.F) {
	f.Add(head + "charts:\n- {repository: https://x.org, name: redis, version: 1.x, resolved: 1.0.0, digest: " + digestA + "}\nbases:\n- {url: 'https://github.com/a/b', commit: " + commitB + "}\n")
	f.Add(head + "charts: &a [*a]\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLock([]byte(text))
		if err != nil {
			return
		}
		again, err := ParseLock([]byte(l.String()))
		if err != nil || again.String() != l.String() {
			t.Errorf("%q becomes %q: %v", text, l.String(), err)
		}
		for _, c := range l.Charts {
			if pin, ok := l.Chart(c.Ref()); !ok || !sha256Digest.MatchString(pin.Digest) {
				t.Errorf("%v has %v", c, pin)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte("entries:\n  redis:\n  - version: 1.0.0\n    urls: [a]\n"), "redis")
	f.Add([]byte(`{"entries":{"redis":[{"version":"1.0.0"}]}}`), "redis")
	f.Add([]byte("entries:\n  'redis':\n    - &a\n      version: 1\n    - *a\n"), "redis")
	f.Fuzz(func(t *testing.T, index []byte, chart string) {
		list, err := releases(index, chart)
		if err != nil {
			return
		}
		for _, version := range []string{"", "1.x", "1.0.0"} {
			if one, err := pick(list, &request{Name: chart, Version: version}); err == nil {
				if u, err := chartURL(&url.URL{Scheme: "https", Host: "x.org", Path: "/r"}, one); err == nil && u.Scheme != "https" && u.Scheme != "http" {
					t.Errorf("%q leads to %v", index, u)
				}
			}
		}
	})
}

func FuzzArchive(f *testing.F) {
	f.Add(tgz(f, entry{name: "redis/Chart.yaml", text: "a"}))
	f.Add(tgz(f, entry{name: "a/../../b", text: "a"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := Limits{Unpacked: 1 << 20, Entries: 100}.orDefaults()
		for _, as := range []layout{chartLayout, treeLayout} {
			found, err := unpack(bytes.NewReader(data), as, limits)
			if err != nil {
				continue
			}
			total := 0
			for name, content := range found {
				if checkName(name) != nil {
					t.Errorf("the name %q", name)
				}
				total += len(content)
			}
			if total > 1<<20 || len(found) > 100 {
				t.Errorf("%d bytes in %d files", total, len(found))
			}
			if tree, err := newFiles(found); err == nil {
				var names []string
				for name := range found {
					names = append(names, name)
				}
				if err := fstest.TestFS(tree, names...); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func FuzzReference(f *testing.F) {
	for _, text := range []string{"https://github.com/acme/app//k8s?ref=v1", "git@github.com:acme/app", "oci://ghcr.io/acme/m:v1@" + digestA, "https://x.org/a.yaml", "https://dev.azure.com/o/p/_git/r/x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBase(text)
		if err != nil {
			return
		}
		if b.dir != "." && checkName(b.dir) != nil {
			t.Errorf("%q: the directory %q", text, b.dir)
		}
		if b.host == nil || b.host.Host == "" {
			t.Errorf("%q: no host", text)
		}
		if b.clone != "" {
			u, err := url.Parse(b.clone)
			if err != nil || u.Host != b.host.Host || u.RawQuery != "" || u.Fragment != "" {
				t.Errorf("%q: clones %q, but the list is asked for %q", text, b.clone, b.host.Host)
			}
		}
	})
}

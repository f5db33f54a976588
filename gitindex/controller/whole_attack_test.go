package controller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/gitserver"
)

// edits are ways to change a repository in which every tool has a unit. A
// content that begins with "->" is a link's target.
func (w *scene) edits(v string) []map[string]string {
	url := w.settings.Spec.URL
	vars := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vars, namespace: flux-system}\ndata: {size: \"" + v + "\"}\n"
	release := func(chart, more string) string {
		return "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: rel, namespace: shop}\nspec:\n  interval: 1h\n" +
			"  chart: {spec: {chart: " + chart + ", sourceRef: {kind: GitRepository, name: flux-system, namespace: flux-system}}}\n" + more
	}
	return []map[string]string{
		{"clusters/vars.yaml": vars}, {"clusters/vars.yaml": ""}, {"elsewhere/vars.yaml": vars}, {"elsewhere/vars.yaml": ""},
		{"clusters/apps.yaml": kustomization("apps", "./apps", "  targetNamespace: shop\n  postBuild: {substituteFrom: [{kind: ConfigMap, name: vars, optional: true}]}\n")},
		{"clusters/apps.yaml": kustomization("apps", "./apps/"+v, "  targetNamespace: shop\n")},
		{"clusters/apps.yaml": ""},
		{"clusters/rel.yaml": release("./chart", "  valuesFrom: [{kind: ConfigMap, name: vals, optional: true}]\n")},
		{"clusters/rel.yaml": release("./link", "  values: {v: '"+v+"'}\n")},
		{"clusters/vals.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vals, namespace: shop}\ndata: {values.yaml: \"v: " + v + "\"}\n"},
		{"chart/values.yaml": "v: " + v + "\n"}, {"chart/templates/cm.yaml": chartTemplate(v)}, {"chart/templates/extra-" + v + ".yaml": cm("extra"+v, "{{ .Values.v }}")},
		{"chart/templates/extra-" + v + ".yaml": ""}, {"chart/.helmignore": "extra-" + v + ".yaml\n"}, {"chart/.helmignore": ""},
		{"link": "->chart"}, {"link": "->other"}, {"other/Chart.yaml": chartYAML, "other/templates/cm.yaml": chartTemplate("o" + v)},
		{"apps/a.yaml": bare("a", "${size:=0} "+v)}, {"apps/0/b.yaml": bare("b", v)}, {"apps/1/c.yaml": bare("c", v)},
		{"apps/kustomization.yaml": "resources: [a.yaml]\n"}, {"apps/kustomization.yaml": ""}, {"apps/0/kustomization.yml": "resources: [b.yaml]\nnamePrefix: k-\n"},
		{"apps/0/kustomization.yml": ""}, {".sourceignore": "apps/" + v + "/\n"}, {".sourceignore": ""},
		{"argo/web.yaml": application("web", url, "web", "")}, {"argo/web.yaml": application("web", url, "web", "  info: [{name: a, value: v"+v+"}]\n")}, {"argo/web.yaml": ""},
		{"web/cm.yaml": bare("w", v)}, {"web/.argocd-source.yaml": "directory: {exclude: 'cm.yaml'}\n"}, {"web/.argocd-source.yaml": ""},
		{"web/Chart.yaml": chartYAML, "web/templates/cm.yaml": chartTemplate("w")}, {"web/Chart.yaml": "", "web/templates/cm.yaml": ""}, {"web/sub": "->../apps/0"}, {"web/sub": ""},
		{"j/main.jsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'j'}, data: {v: import 'lib/v.libsonnet'}}"}, {"j/lib/v.libsonnet": "'" + v + "'"},
		{"j/lib/v.libsonnet": ""}, {"vendor/lib/v.libsonnet": "'vendor" + v + "'"}, {"vendor/lib/v.libsonnet": ""},
		{"k/base/kustomization.yaml": "resources: [x.yaml]\n", "k/base/x.yaml": cm("x", v)}, {"k/kustomization.yaml": "resources: [base]\nnameSuffix: -" + v + "\n"}, {"k/kustomization.yaml": ""},
		{"k/kustomization.yaml": "resources: [base]\nconfigMapGenerator: [{name: g, namespace: shop, files: [f]}]\n", "k/f": v}, {"k/f": v}, {"k/f": "->base/x.yaml"},
		{"README.md": v},
	}
}

const chartYAML = "apiVersion: v2\nname: c\nversion: 1.0.0\n"

func chartTemplate(v string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-cm, namespace: shop}\ndata: {value: \"{{ .Values.v }} " + v + "\"}\n"
}

func (w *scene) change(signer gitserver.Signer, files map[string]string) {
	o := gitserver.CommitOptions{Files: map[string]string{}, Modes: map[string]uint32{}, Message: "a change", Signer: signer}
	for p, c := range files {
		target, isLink := strings.CutPrefix(c, "->")
		switch {
		case c == "":
			o.Delete = append(o.Delete, p)
		case isLink:
			o.Files[p], o.Modes[p] = target, 0o120000
		default:
			o.Files[p], o.Modes[p] = c, 0o100644
		}
	}
	w.add(o)
}

// TestIncrementalIsWholeForAllTools: as TestIncrementalIsWhole, for every tool,
// through links, and for files that tools look for and do not find. And the
// commit of every object is the one that looking at each version by itself
// finds.
func TestIncrementalIsWholeForAllTools(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	for round := range 5 {
		w, _ := renderScene(t)
		w.settings.Spec.Render = append([]v1alpha1.Render{{Path: "j/main.jsonnet", Type: v1alpha1.RenderJsonnet, Namespace: "shop",
			Jsonnet: &v1alpha1.JsonnetRender{Libraries: []string{"vendor"}}}, {Path: "chart", Type: v1alpha1.RenderHelm, Namespace: "shop"}}, w.settings.Spec.Render...)
		if len(w.settings.Spec.Render) == 2 {
			w.settings.Spec.Render = append(w.settings.Spec.Render, v1alpha1.Render{Namespace: "shop"})
		}
		all := w.edits("0")
		w.change(w.ada, map[string]string{"chart/Chart.yaml": chartYAML, "chart/values.yaml": "v: 0\n"})
		for _, i := range []int{0, 4, 7, 11, 16, 18, 19, 20, 28, 31, 37, 38, 42, 43} {
			w.change(w.ada, all[i])
		}
		w.sync()
		for range 25 {
			list := w.edits(fmt.Sprint(random.IntN(3)))
			w.change(w.anybody(random), list[random.IntN(len(list))])
			if random.IntN(3) > 0 {
				w.sync()
			}
		}
		step := w.sync()
		w.compareWithOracle(round)
		w.tracker.Close()
		w.settings.Dir = t.TempDir()
		w.open()
		whole := w.sync()
		w.compareWithOracle(round)
		if got, want := told(step), told(whole); got != want {
			t.Errorf("round %d: step by step, and at once:\n%s", round, difference(got, want))
		}
	}
}

func difference(a, b string) string {
	var out []string
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, l := range x {
		if !slices.Contains(y, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range y {
		if !slices.Contains(x, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

// compareWithOracle renders every version by itself and compares.
func (w *scene) compareWithOracle(round int) {
	s := w.tracker.state
	var had []map[string]bool
	for at := range s.Timeline.Len() {
		b := w.tracker.builder(s)
		b.evaluator.memo = map[string]*rendering{}
		made := map[string]bool{}
		for _, r := range b.evaluator.at(b.before(at + 1)).renderings {
			for i := range r.Output.Objects {
				o := &r.Output.Objects[i]
				ms, _ := b.addressed(gitindex.Manifest{}, o, r.namespace())
				for _, m := range ms {
					made[m.Ref.String()+string(m.Raw)] = true
				}
			}
		}
		had = append(had, made)
	}
	for ref, e := range s.Objects {
		for _, m := range e.Current {
			key := ref.String() + string(m.Raw)
			if m.Unit == "" {
				continue
			}
			if !had[len(had)-1][key] {
				w.t.Errorf("round %d: %s of %s is not what it renders to: %s", round, ref, m.Unit, m.Raw)
				continue
			}
			at := len(had) - 1
			for at > 0 && had[at-1][key] {
				at--
			}
			if c := s.Timeline.Commit(at); c.ID != m.Commit.ID {
				w.t.Errorf("round %d: %s of %s is traced to %s, want %s", round, ref, m.Unit, m.Commit.Short(), c.Short())
			}
		}
	}
}

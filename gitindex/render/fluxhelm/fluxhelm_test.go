package fluxhelm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
	helmaction "helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// world is a tree with the objects and charts that it is told of.
type world struct {
	render.Alone
	charts map[string]fs.FS
	pin    string
}

func (w *world) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	if c, ok := w.charts[ref.String()]; ok {
		return c, render.Pin{Digest: w.pin}, nil
	}
	return w.Alone.Chart(ref)
}

func tree(text string) fstest.MapFS {
	files := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return files
}

// web is the tree of testdata/web.txtar, with more objects declared.
func web(t testing.TB, declared ...string) *world {
	t.Helper()
	text, err := os.ReadFile("testdata/web.txtar")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Alone: render.Alone{FS: tree(string(text)), Objects: map[gitindex.Ref]json.RawMessage{}}, charts: map[string]fs.FS{}}
	for _, text := range append(declared, string(w.FS.(fstest.MapFS)["git.yaml"].Data)) {
		objects, problems := render.File("a.yaml", []byte(text), render.Limits{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, o := range objects {
			w.Objects[gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}] = o.JSON
		}
	}
	return w
}

func release(t testing.TB, spec string) render.Unit {
	t.Helper()
	raw, err := sigsyaml.YAMLToJSON([]byte("apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: apps}\nspec:\n  interval: 1h\n" + indent(spec)))
	if err != nil {
		t.Fatal(err)
	}
	return render.Unit{Tool: render.FluxHelm, Opener: raw}
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + line)
	}
	return b.String() + "\n"
}

const local = "chart: {spec: {chart: ./charts/web, sourceRef: {kind: GitRepository, name: platform}}}\n"

func find(t testing.TB, objects []render.Object, kind, name string) *render.Object {
	t.Helper()
	for i := range objects {
		if objects[i].Kind == kind && objects[i].Name == name {
			return &objects[i]
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

// tested is the post-renderer of a HelmRelease, as Helm's action calls it, with the labels of
// the origin that Flux puts on.
type tested struct{ hr *helmRelease }

func (p tested) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	out, err := p.hr.run(in.Bytes())
	if err != nil {
		return nil, err
	}
	out, err = transform(out, commonMetadata{Labels: map[string]string{Group + "/name": "web", Group + "/namespace": "apps"}})
	return bytes.NewBuffer(out), err
}

// byHelm is what Helm's own action makes of the chart in the tree, as
// helm-controller calls it, without the labels of the origin.
func byHelm(t *testing.T, w *world, u render.Unit, values map[string]any) (objects, hooks []string) {
	t.Helper()
	hr, err := parse(u.Opener)
	if err != nil {
		t.Fatal(err)
	}
	install := helmaction.NewInstall(helmaction.NewConfiguration(helmaction.ConfigurationSetLogger(slog.DiscardHandler)))
	install.DryRunStrategy = helmaction.DryRunClient
	install.ReleaseName, install.Namespace = hr.releaseName(), hr.releaseNamespace()
	install.DisableOpenAPIValidation = true
	if install.KubeVersion, err = common.ParseKubeVersion("v1.37.0"); err != nil {
		t.Fatal(err)
	}
	install.PostRenderer = tested{hr}
	install.PostRenderStrategy = helmaction.PostRenderStrategy(hr.Spec.PostRenderStrategy)
	if install.PostRenderStrategy == "" {
		install.PostRenderStrategy = helmaction.PostRenderStrategyCombined
	}
	var packed []*archive.BufferedFile
	for name, f := range w.FS.(fstest.MapFS) {
		if name, ok := strings.CutPrefix(name, "charts/web/"); ok {
			packed = append(packed, &archive.BufferedFile{Name: name, Data: f.Data})
		}
	}
	c, err := loader.LoadFiles(packed)
	if err != nil {
		t.Fatal(err)
	}
	rel, err := install.RunWithContext(context.Background(), c, values)
	if err != nil {
		t.Fatal(err)
	}
	done := rel.(*releasev1.Release)
	for _, h := range done.Hooks {
		hooks = append(hooks, objectsOf(t, h.Manifest)...)
	}
	objects = objectsOf(t, done.Manifest)
	slices.Sort(hooks)
	slices.Sort(objects)
	return objects, hooks
}

func objectsOf(t *testing.T, text string) []string {
	var all []string
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var object map[string]any
		err := d.Decode(&object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(object) == 0 {
			continue
		}
		all = append(all, withoutOrigin(t, object))
	}
}

func withoutOrigin(t *testing.T, object map[string]any) string {
	meta := object["metadata"].(map[string]any)
	if labels, ok := meta["labels"].(map[string]any); ok {
		delete(labels, Group+"/name")
		delete(labels, Group+"/namespace")
		if len(labels) == 0 {
			delete(meta, "labels")
		}
	}
	line, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// TestAgainstHelm holds what is rendered here against Helm's own action with its
// own handling of post-renderers.
func TestAgainstHelm(t *testing.T) {
	const patches = `postRenderers:
- kustomize:
    patches:
    - target: {kind: Deployment}
      patch: |
        - {op: replace, path: /spec/replicas, value: 9}
    - patch: |
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec: {type: NodePort}
    images: [{name: ghcr.io/acme/web, newName: mirror.example/web, newTag: "2"}]
- kustomize: {images: [{name: mirror.example/web, digest: "sha256:0123"}]}
commonMetadata: {labels: {team: shop, app: other}, annotations: {owner: "yes"}}
test: {enable: true}
`
	for name, spec := range map[string]string{
		"as it is":  local + "test: {enable: true}\n",
		"patched":   local + patches,
		"combined":  local + patches + "postRenderStrategy: combined\n",
		"separate":  strings.Replace(local+patches, "    - patch: |\n        apiVersion: v1\n        kind: Service\n        metadata: {name: web}\n        spec: {type: NodePort}\n", "", 1) + "postRenderStrategy: separate\n",
		"no hooks":  local + patches + "postRenderStrategy: nohooks\n",
		"elsewhere": local + "targetNamespace: front\nreleaseName: front\nvalues: {replicas: 1000000, host: yes}\ntest: {enable: true}\n",
	} {
		t.Run(name, func(t *testing.T) {
			w, u := web(t), release(t, spec)
			out, err := Build(w, u)
			if err != nil {
				t.Fatal(err)
			}
			hr, _ := parse(u.Opener)
			values := map[string]any{}
			if err := sigsyaml.Unmarshal(hr.Spec.Values, &values); err != nil {
				t.Fatal(err)
			}
			wantObjects, wantHooks := byHelm(t, w, u, values)
			var objects, hooks []string
			for _, o := range out.Objects {
				var object map[string]any
				if err := yaml.Unmarshal(o.JSON, &object); err != nil {
					t.Fatal(err)
				}
				switch line := withoutOrigin(t, object); {
				case o.Bare: // its CRD, and the HelmChart
				case o.Hook:
					hooks = append(hooks, line)
				default:
					objects = append(objects, line)
				}
			}
			slices.Sort(objects)
			slices.Sort(hooks)
			if !slices.Equal(objects, wantObjects) || !slices.Equal(hooks, wantHooks) {
				t.Errorf("here\n%s\n%s\nHelm\n%s\n%s", strings.Join(objects, "\n"), strings.Join(hooks, "\n"), strings.Join(wantObjects, "\n"), strings.Join(wantHooks, "\n"))
			}
			if len(objects) != 3 || len(hooks) != 2 {
				t.Errorf("%d objects, %d hooks", len(objects), len(hooks))
			}
		})
	}
}

func TestOutput(t *testing.T) {
	out, err := Build(web(t), release(t, local+`
targetNamespace: front
storageNamespace: flux-system
install: {createNamespace: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := gitindex.Applier{HelmRelease: "front-web", HelmNamespace: "front", HelmStorageNamespace: "flux-system", FluxHelmName: "web", FluxHelmNamespace: "apps",
		CreatesNamespace: "front", NamespaceLabels: map[string]string{"name": "front"}}
	if fmt.Sprint(*out.Applier) != fmt.Sprint(want) || out.Namespace != "front" || out.Level != gitindex.Rendered {
		t.Errorf("%+v, %s, %s", *out.Applier, out.Namespace, out.Level)
	}
	crd := find(t, out.Objects, "CustomResourceDefinition", "things.web.example")
	if !crd.Bare || crd.Path != "charts/web/crds/all.yaml" || len(out.Objects) != 6 {
		t.Errorf("%+v, %d objects", crd, len(out.Objects))
	}
	if o := find(t, out.Objects, "Deployment", "front-web"); o.Path != "charts/web/templates/web.yaml" || o.Hook || o.Bare {
		t.Errorf("%+v", o)
	}
	if !find(t, out.Objects, "Job", "migrate").Hook {
		t.Error("the hook is none")
	}
	for _, o := range out.Objects {
		for _, mark := range []string{Group, "meta.helm.sh", "managed-by", filename} {
			if bytes.Contains(o.JSON, []byte(mark)) {
				t.Errorf("%s is in %s", mark, o.JSON)
			}
		}
	}
	const chart = `{"apiVersion":"source.toolkit.fluxcd.io/v1","kind":"HelmChart","metadata":{"name":"apps-web","namespace":"apps"},` +
		`"spec":{"chart":"./charts/web","interval":"1h0m0s","sourceRef":{"kind":"GitRepository","name":"platform"}}}`
	if o := find(t, out.Objects, "HelmChart", "apps-web"); string(o.JSON) != chart || !o.Bare {
		t.Errorf("%s", o.JSON)
	}
	for spec, n := range map[string]int{
		"install: {crds: Skip}\n":                                               6, // the upgrade makes them still
		"install: {crds: Skip}\nupgrade: {crds: Skip}\n":                        5,
		"install: {disableHooks: true}\n":                                       6,
		"install: {disableHooks: true}\nupgrade: {disableHooks: true}\n":        5,
		"test: {enable: true}\nupgrade: {crds: CreateReplace}\nsuspend: true\n": 7,
	} {
		if out, err := Build(web(t), release(t, local+spec)); err != nil || len(out.Objects) != n {
			t.Errorf("%s: %d objects, %v; want %d", spec, len(out.Objects), err, n)
		}
	}
}

func TestReleaseName(t *testing.T) {
	// The last is as helm-controller's internal/release/name_test.go has it.
	for _, c := range []struct{ releaseName, targetNamespace, name, want string }{
		{"", "", "web", "web"},
		{"", "front", "web", "front-web"},
		{"own", "front", "web", "own"},
		{strings.Repeat("a", 53), "", "web", strings.Repeat("a", 53)},
		{"release-name-with-very-long-name-which-is-longer-than-53-characters", "", "web", "release-name-with-very-long-name-which-i-788ca0d0d7b0"},
	} {
		hr := helmRelease{Metadata: metadata{Name: c.name}, Spec: spec{ReleaseName: c.releaseName, TargetNamespace: c.targetNamespace}}
		if got := hr.releaseName(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

const remoteChart = `-- Chart.yaml --
apiVersion: v2
name: redis
version: 1.2.3
-- values.yaml --
size: 1
-- values-big.yaml --
size: 7
-- templates/a.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | quote }}}}
data: {size: {{ .Values.size | quote }}}
`

const sources = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: index, namespace: apps}
spec: {url: "https://charts.example/stable"}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: oci, namespace: flux-system}
spec: {type: oci, url: "oci://ghcr.io/acme/charts"}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: digest, namespace: apps}
spec: {url: "oci://ghcr.io/acme/redis", ref: {digest: "sha256:abcdef0123456789", tag: 9.9.9}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: tag, namespace: apps}
spec: {url: "oci://ghcr.io/acme/redis", ref: {tag: 1.2.3}, layerSelector: {mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: range, namespace: apps}
spec: {url: "oci://ghcr.io/acme/redis", ref: {semver: "1.x"}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: filter, namespace: apps}
spec: {url: "oci://ghcr.io/acme/redis", ref: {semver: "1.x", semverFilter: ".*-rc"}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: newest, namespace: apps}
spec: {url: "oci://ghcr.io/acme/redis"}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmChart
metadata: {name: chart, namespace: apps}
spec: {chart: redis, version: 1.2.3, sourceRef: {kind: HelmRepository, name: index}}
`

func TestSources(t *testing.T) {
	for spec, want := range map[string]struct{ ref, version string }{
		"chart: {spec: {chart: redis, version: 1.2.3, sourceRef: {kind: HelmRepository, name: index}}}":                       {"https://charts.example/stable redis 1.2.3", "1.2.3"},
		"chart: {spec: {chart: redis, version: '*', sourceRef: {kind: HelmRepository, name: index}}}":                         {"https://charts.example/stable redis", "1.2.3"},
		"chart: {spec: {chart: redis, version: '>=1', sourceRef: {kind: HelmRepository, name: oci, namespace: flux-system}}}": {"oci://ghcr.io/acme/charts/redis >=1", "1.2.3"},
		"chartRef: {kind: HelmChart, name: chart}":                                                                            {"https://charts.example/stable redis 1.2.3", "1.2.3"},
		"chartRef: {kind: OCIRepository, name: digest}":                                                                       {"oci://ghcr.io/acme/redis @sha256:abcdef0123456789", "1.2.3_abcdef012345"},
		"chartRef: {kind: OCIRepository, name: tag}":                                                                          {"oci://ghcr.io/acme/redis 1.2.3", "1.2.3_112233445566"},
		"chartRef: {kind: OCIRepository, name: range, namespace: apps}":                                                       {"oci://ghcr.io/acme/redis 1.x", "1.2.3_112233445566"},
		"chartRef: {kind: OCIRepository, name: newest}":                                                                       {"oci://ghcr.io/acme/redis latest", "1.2.3_112233445566"},
	} {
		w := web(t, sources)
		w.pin = "sha256:1122334455667788"
		_, err := Build(w, release(t, spec))
		var needs *render.NeedsError
		if !errors.As(err, &needs) || needs.What != "the chart "+want.ref {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		w.charts[want.ref] = tree(remoteChart)
		out, err := Build(w, release(t, spec))
		if err != nil || len(out.Objects) != 1+strings.Count(spec, "sourceRef") {
			t.Errorf("%s: %d objects, %v", spec, len(out.Objects), err)
			continue
		}
		if o := out.Objects[0]; !bytes.Contains(o.JSON, []byte(`"helm.sh/chart":"redis-`+want.version+`"`)) || o.Path != "redis/templates/a.yaml" || out.Level != gitindex.Pinned {
			t.Errorf("%s: %s of %s, %s", spec, o.JSON, o.Path, out.Level)
		}
	}
}

// TestValuesFiles: Flux packs the chart anew, and tells so in its version by a
// number that only the cluster knows.
func TestValuesFiles(t *testing.T) {
	w := web(t, sources)
	w.charts["https://charts.example/stable redis"] = tree(remoteChart)
	out, err := Build(w, release(t, "chart: {spec: {chart: redis, sourceRef: {kind: HelmRepository, name: index}, valuesFiles: [values.yaml, values-big.yaml, missing.yaml], ignoreMissingValuesFiles: true}}"))
	if err != nil {
		t.Fatal(err)
	}
	o := out.Objects[0]
	want := gitindex.Hole{Path: "metadata.labels[helm.sh/chart]", Pattern: `redis-1\.2\.3_(?:[0-9]+)`, Why: "the generation of the HelmChart"}
	if !bytes.Contains(o.JSON, []byte(`"size":"7"`)) || len(o.Holes) != 1 || o.Holes[0] != want || out.Level != gitindex.Templated {
		t.Errorf("%s %+v %s", o.JSON, o.Holes, out.Level)
	}
	out, err = Build(web(t), release(t, "chart: {spec: {chart: charts/web, reconcileStrategy: Revision, sourceRef: {kind: GitRepository, name: platform}, valuesFiles: [charts/web/values.yaml, ./env/live.yaml]}}"))
	if err != nil {
		t.Fatal(err)
	}
	d := find(t, out.Objects, "Deployment", "web")
	if !bytes.Contains(d.JSON, []byte(`"replicas":5`)) || len(d.Holes) != 1 || d.Holes[0].Pattern != `web-1\.2\.3_(?:[0-9a-f]{12})\.(?:[0-9]+)` {
		t.Errorf("%s %+v", d.JSON, d.Holes)
	}
}

func TestValuesFrom(t *testing.T) {
	w := web(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: first, namespace: apps}
data: {values.yaml: "replicas: 3\nhost: first\n", replicas: "4", list: "a,b", quoted: "'5'", broken: "[: SECRET"}
---
apiVersion: v1
kind: Secret
metadata: {name: plain, namespace: apps}
data: {host: cGxhaW4=}
stringData: {other: SECRET}
`)
	for spec, want := range map[string]string{
		"valuesFrom: [{kind: ConfigMap, name: first}]":                                                                                    `"replicas":3`,
		"valuesFrom: [{kind: ConfigMap, name: first}]\nvalues: {replicas: 6}":                                                             `"replicas":6`,
		"valuesFrom: [{kind: ConfigMap, name: first}, {kind: ConfigMap, name: first, valuesKey: replicas, targetPath: replicas}]":         `"replicas":4`,
		"valuesFrom: [{kind: Secret, name: plain, valuesKey: host, targetPath: host}]":                                                    `"value":"plain"`,
		"valuesFrom: [{kind: ConfigMap, name: first, valuesKey: list, targetPath: host, literal: true}]":                                  `"value":"a,b"`,
		"valuesFrom: [{kind: ConfigMap, name: first, valuesKey: quoted, targetPath: host}]":                                               `"value":"5"`,
		"valuesFrom: [{kind: ConfigMap, name: missing, optional: true}, {kind: Secret, name: plain, valuesKey: nothing, optional: true}]": `"replicas":2`,
		"valuesFrom: [{kind: ConfigMap, name: first}, {kind: ConfigMap, name: first, valuesKey: list, targetPath: x, literal: true}]\n":   `"replicas":3`,
	} {
		out, err := Build(w, release(t, local+spec))
		if err != nil {
			t.Errorf("%s: %v", spec, err)
		} else if d := find(t, out.Objects, "Deployment", "web"); !bytes.Contains(d.JSON, []byte(want)) || len(d.Holes) > 0 {
			t.Errorf("%s: %s", spec, d.JSON)
		}
	}
	for spec, want := range map[string]string{
		"valuesFrom: [{kind: ConfigMap, name: missing}]":                                  "needs ConfigMap apps/missing, key values.yaml",
		"valuesFrom: [{kind: ConfigMap, name: first, valuesKey: nothing}]":                "needs ConfigMap apps/first, key nothing",
		"valuesFrom: [{kind: Secret, name: missing}]":                                     "give it a targetPath",
		"valuesFrom: [{kind: Service, name: a}]":                                          "values from a Service",
		"valuesFrom: [{kind: ConfigMap, name: first, valuesKey: broken}]":                 "does not hold values under broken",
		"valuesFrom: [{kind: Secret, name: plain, valuesKey: other}]":                     "Secret plain does not hold values under other",
		"valuesFrom: [{kind: ConfigMap, name: first, valuesKey: list, targetPath: host}]": "the value of ConfigMap first cannot stand at host",
		"values: [a]": "spec.values is no map",
	} {
		_, err := Build(w, release(t, local+spec))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// holesIn renders a template with one value of a Secret that is not in Git.
func holesIn(t *testing.T, template string) ([]render.Object, error) {
	w := web(t)
	w.FS.(fstest.MapFS)["charts/c/Chart.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v2\nname: c\nversion: 1.0.0\n")}
	w.FS.(fstest.MapFS)["charts/c/templates/a.yaml"] = &fstest.MapFile{Data: []byte(template)}
	out, err := Build(w, release(t, `
chart: {spec: {chart: charts/c, sourceRef: {kind: GitRepository, name: platform}}}
valuesFrom: [{kind: Secret, name: db, valuesKey: password, targetPath: db.password}]
`))
	if err == nil && out.Level != gitindex.Templated && len(out.Objects[0].Holes) > 0 {
		t.Errorf("holes at level %s", out.Level)
	}
	return out.Objects, err
}

func TestHoles(t *testing.T) {
	const head = "apiVersion: v1\nkind: %s\nmetadata: {name: a}\n"
	secret, config := fmt.Sprintf(head, "Secret"), fmt.Sprintf(head, "ConfigMap")
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: sidecar}, {name: main, "
	const open = `(?:[\s\S]*)`
	for template, want := range map[string][2]string{
		secret + "data: {p: {{ .Values.db.password | b64enc }}}":                                                           {"data.p", open},
		secret + "data: {p: {{ printf \"user:%s\" .Values.db.password | b64enc }}}":                                        {"data.p", "user:" + open},
		secret + "stringData: {url: \"pg://u:{{ .Values.db.password }}@db.example/x\"}":                                    {"stringData.url", `pg://u:` + open + `@db\.example/x`},
		config + "data: {app.ini: \"password={{ .Values.db.password }}\\n\"}":                                              {"data[app.ini]", "password=" + open + "\n"},
		pod + "env: [{name: P, value: {{ .Values.db.password }}}]}]}":                                                      {"spec.containers[name=main].env[name=P].value", open},
		pod + "args: [a, {{ .Values.db.password }}]}]}":                                                                    {"spec.containers[name=main].args[1]", open},
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {checksum/s: {{ .Values.db.password | sha256sum }}}}": {"metadata.annotations[checksum/s]", "[0-9a-f]{64}"},
	} {
		objects, err := holesIn(t, template)
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		hole := gitindex.Hole{Path: want[0], Pattern: want[1], Why: "Secret apps/db"}
		if len(objects) != 2 || len(objects[0].Holes) != 1 || objects[0].Holes[0] != hole {
			t.Errorf("%s: %+v", template, objects[0].Holes)
		}
	}
	for _, template := range []string{
		config + "data: {p: {{ .Values.db.password | sha256sum }}}",
		config + "data: {p: {{ .Values.db.password | b64enc }}}",
		config + "data: {p: {{ .Values.db.password | upper }}}",
		config + "data: {{ dict .Values.db.password 1 | toJson }}",
		config + "data: {p: {{ if eq .Values.db.password \"true\" }}x{{ else }}y{{ end }}}",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.db.password }}}",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: {{ .Values.db.password }}}",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-{{ .Values.db.password | sha256sum | trunc 8 }}}",
		config + "data: {p: \"" + strings.Repeat("long ", 250) + "{{ .Values.db.password }}\"}",
	} {
		objects, err := holesIn(t, template)
		if strings.Contains(template, "if eq") {
			// Neither text is that: it renders as the chart does for any other value, and
			// where the Secret has that one, what is applied is not as Git declares.
			if err != nil || len(objects[0].Holes) > 0 {
				t.Errorf("%s: %v", template, err)
			}
			continue
		}
		if !errors.Is(err, render.ErrUnstable) || !strings.Contains(err.Error(), "Secret apps/db") || strings.Contains(err.Error(), "gwa") && !strings.Contains(template, "name: {{") && !strings.Contains(template, "namespace") && !strings.Contains(template, "name: a-") {
			t.Errorf("%s: %v", template, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := web(t, sources)
	w.charts["oci://ghcr.io/acme/redis 1.2.3"] = tree(remoteChart)
	for spec, want := range map[string]string{
		local + "kubeConfig: {secretRef: {name: other}}":                             "another cluster",
		local + "upgrade: {preserveValues: true}":                                    "earlier releases",
		local + "install: {crds: Sometimes}":                                         `"Sometimes" is no policy`,
		"interval: 1m":                                                               "exactly one of spec.chart and spec.chartRef",
		local + "chartRef: {kind: HelmChart, name: a}":                               "exactly one of spec.chart and spec.chartRef",
		local + "postRenderers: [{kustomize: {patchesStrategicMerge: [{kind: A}]}}]": "no longer reads",
		local + "postRenderers: [{kustomize: {patches: [{patch: \"- {op: remove, path: /nothing}\", target: {kind: Service}}]}}]": "the post-renderers",
		"chart: {spec: {chart: a, sourceRef: {kind: Bucket, name: b}}}":                                                           "source of kind Bucket cannot be known from Git",
		"chartRef: {kind: ExternalArtifact, name: a}":                                                                             "source of kind ExternalArtifact cannot be known from Git",
		"chartRef: {kind: OCIRepository, name: filter}":                                                                           "semverFilter",
		"chartRef: {kind: OCIRepository, name: nowhere}":                                                                          "needs OCIRepository apps/nowhere: Git does not declare it",
		"chartRef: {kind: OCIRepository, name: tag}":                                                                              "the chart is not pinned by one",
		"chart: {spec: {chart: ../a, sourceRef: {kind: GitRepository, name: platform}}}":                                          "is not in the tree",
		"chart: {spec: {chart: charts/a.tgz, sourceRef: {kind: GitRepository, name: platform}}}":                                  "is packed",
		"chart: {spec: {chart: charts/a, sourceRef: {kind: GitRepository, name: platform}}}":                                      "charts/a",
		"chart: {spec: {chart: charts/web, sourceRef: {kind: GitRepository, name: platform}, valuesFiles: [no.yaml]}}":            "no.yaml",
		"chart: {spec: {chart: charts/web, sourceRef: {kind: GitRepository, name: platform}, valuesFile: a.yaml}}":                "no longer reads",
	} {
		out, err := Build(w, release(t, spec))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "HelmRelease apps/web") {
			t.Errorf("%s: %d objects, %v; want %q", spec, len(out.Objects), err, want)
		}
	}
	if _, err := Build(w, render.Unit{Opener: []byte(`{"apiVersion":"v1","kind":"Pod"}`)}); err == nil {
		t.Error("a Pod opened a release")
	}
}

// TestInstallAndUpgrade: what is made otherwise the second time cannot be told
// from Git.
func TestInstallAndUpgrade(t *testing.T) {
	for template, stable := range map[string]bool{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: \"{{ .Release.Revision }}\"}":                                                                  false,
		"{{ if .Release.IsInstall }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n{{ end }}":                                                                  false,
		"{{ if .Release.IsUpgrade }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n{{ end }}":                                                                  false,
		"{{ if .Release.IsUpgrade }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {helm.sh/hook: pre-upgrade}}\n{{ end }}":                        true,
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {helm.sh/hook: pre-upgrade}}\ndata: {v: \"{{ .Release.Revision }}\"}\n":                      false,
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, annotations: {helm.sh/hook: \"pre-install\"}}": true,
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: {{ now | date \"2006\" | quote }}}":                                                            false,
	} {
		w := web(t)
		w.FS.(fstest.MapFS)["charts/web/templates/a.yaml"] = &fstest.MapFile{Data: []byte(template)}
		_, err := Build(w, release(t, local))
		if stable && err != nil || !stable && !errors.Is(err, render.ErrUnstable) {
			t.Errorf("%s: %v", template, err)
		}
	}
}

func TestDrift(t *testing.T) {
	out, err := Build(web(t), release(t, local+`
driftDetection:
  mode: enabled
  ignore:
  - paths: [/spec/replicas, /spec/template/spec/containers/0/image, /metadata/annotations/example.org~1a~0b]
    target: {kind: Deploy.*, name: web}
  - paths: [/data]
    target: {kind: Map}
  - paths: [/spec/type]
    target: {annotationSelector: note=kept, namespace: apps}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"metadata.annotations[example.org/a~b]", "spec.replicas", "spec.template.spec.containers[name=web].image"}
	if d := find(t, out.Objects, "Deployment", "web"); !slices.Equal(d.Live, want) {
		t.Errorf("%q", d.Live)
	}
	if s := find(t, out.Objects, "Service", "web"); !slices.Equal(s.Live, []string{"spec.type"}) {
		t.Errorf("%q", s.Live)
	}
	if c := find(t, out.Objects, "ConfigMap", "config"); len(c.Live) > 0 {
		t.Errorf("%q", c.Live)
	}
	if _, err := Build(web(t), release(t, local+"driftDetection: {mode: enabled, ignore: [{paths: [/a], target: {kind: '('}}]}")); err == nil {
		t.Error("a broken target is taken")
	}
}

func TestSource(t *testing.T) {
	w := web(t, sources)
	for spec, want := range map[string]string{
		local: "GitRepository apps/platform",
		"chart: {spec: {chart: a, sourceRef: {kind: HelmRepository, name: oci, namespace: flux-system}}}": "HelmRepository flux-system/oci",
		"chartRef: {kind: OCIRepository, name: tag}":                                                      "OCIRepository apps/tag",
		"chartRef: {kind: HelmChart, name: chart}":                                                        "HelmRepository apps/index",
	} {
		if ref, _, err := Place(w, release(t, spec).Opener); err != nil || ref.String() != want {
			t.Errorf("%s: %v, %v", spec, ref, err)
		}
	}
}

func FuzzBuild(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"helm.toolkit.fluxcd.io/v2","kind":"HelmRelease","metadata":{"name":"web","namespace":"apps"},"spec":{"chart":{"spec":{"chart":"charts/web","sourceRef":{"kind":"GitRepository","name":"platform"}}}}}`))
	f.Fuzz(func(t *testing.T, opener []byte) {
		out, err := Build(web(t), render.Unit{Opener: opener})
		if err != nil && (out.Objects != nil || out.Applier != nil) {
			t.Error("output beside an error")
		}
	})
}

package flux

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/yaml"
)

func sources(t *testing.T, files map[string]string, objects ...string) render.Alone {
	t.Helper()
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	src := render.Alone{FS: tree, Objects: map[gitindex.Ref]json.RawMessage{}}
	for _, text := range objects {
		found, problems := render.Read([]byte(text), render.Limits{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, o := range found {
			src.Objects[gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}] = o.JSON
		}
	}
	return src
}

func unit(t *testing.T, spec string) render.Unit {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\nspec:\n" +
		"  sourceRef: {kind: GitRepository, name: flux-system}\n" + spec))
	if err != nil {
		t.Fatal(err)
	}
	return render.Unit{Tool: render.Flux, Opener: raw}
}

func must(t *testing.T, src render.Sources, u render.Unit) render.Output {
	t.Helper()
	out, err := Build(src, u)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func find(t *testing.T, out render.Output, kind, name string) (render.Object, map[string]any) {
	t.Helper()
	for _, o := range out.Objects {
		if o.Kind == kind && o.Name == name {
			var object map[string]any
			if err := json.Unmarshal(o.JSON, &object); err != nil {
				t.Fatal(err)
			}
			return o, object
		}
	}
	t.Fatalf("no %s %s among %d objects, %v", kind, name, len(out.Objects), out.Problems)
	return render.Object{}, nil
}

func expect(t *testing.T, object map[string]any, want any, steps ...any) {
	t.Helper()
	if got, _ := dig(object, steps); got != want {
		t.Errorf("%s is %v, not %v", shown(steps), got, want)
	}
}

// TestEverything is what the real kustomize-controller was seen to send for a
// directory without a kustomization: target namespace, common metadata, images,
// patches and variables at once, after the round trip through the types.
func TestEverything(t *testing.T) {
	src := sources(t, map[string]string{
		"apps/web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
unknownTypo: 1
spec:
  replicas: ${REPLICAS:=2}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx:1
        resources: {requests: {cpu: "0.5"}}
        ports: [{containerPort: 80}]
status: {replicas: 9}
`,
		"apps/token.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {token: s3cret}\n",
		"apps/notes.txt":  "no manifest",
	})
	out := must(t, src, unit(t, `  path: ./apps
  targetNamespace: shop
  commonMetadata: {labels: {team: shop}, annotations: {owner: ada}}
  images: [{name: nginx, newTag: "2"}]
  patches:
  - patch: '[{"op": "add", "path": "/metadata/annotations", "value": {"patched": "true"}}]'
    target: {kind: Deployment}
  postBuild: {substitute: {NOTHING: ""}}
`))
	o, web := find(t, out, "Deployment", "web")
	expect(t, web, "shop", "metadata", "namespace")
	expect(t, web, "shop", "metadata", "labels", "team")
	expect(t, web, "ada", "metadata", "annotations", "owner")
	expect(t, web, "true", "metadata", "annotations", "patched")
	expect(t, web, 2.0, "spec", "replicas")
	expect(t, web, "nginx:2", "spec", "template", "spec", "containers", 0, "image")
	expect(t, web, "500m", "spec", "template", "spec", "containers", 0, "resources", "requests", "cpu")
	expect(t, web, "TCP", "spec", "template", "spec", "containers", 0, "ports", 0, "protocol")
	expect(t, web, nil, "unknownTypo")
	expect(t, web, nil, "status")
	if _, ok := dig(web, []any{"spec", "strategy"}); !ok {
		t.Error("the round trip adds an empty strategy")
	}
	if o.Path != "apps/web.yaml" || o.Line != 1 || len(o.Holes) > 0 {
		t.Errorf("%s:%d %v", o.Path, o.Line, o.Holes)
	}
	_, token := find(t, out, "Secret", "token")
	expect(t, token, base64.StdEncoding.EncodeToString([]byte("s3cret")), "data", "token")
	expect(t, token, nil, "stringData")
	if out.Level != gitindex.Rendered || out.Applier.FluxName != "apps" || out.Applier.FluxNamespace != "flux-system" || out.Namespace != "shop" {
		t.Errorf("%v %+v %q", out.Level, out.Applier, out.Namespace)
	}
}

const page = `apiVersion: v1
kind: ConfigMap
metadata: {name: page, namespace: shop}
data:
  host: web.${DOMAIN}
  mail: ${MAIL}
  region: ${REGION}
  kept: $${DOMAIN}
`

const values = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: values, namespace: flux-system}\ndata: {REGION: eu, DOMAIN: a.example}\n"

// TestVariables: what a declared ConfigMap says is known; a Secret leaves holes,
// and may override what came before it.
func TestVariables(t *testing.T) {
	src := sources(t, map[string]string{"page.yaml": page}, values)
	out := must(t, src, unit(t, "  postBuild: {substituteFrom: [{kind: ConfigMap, name: values}], substitute: {MAIL: me@example}}\n"))
	o, got := find(t, out, "ConfigMap", "page")
	expect(t, got, "web.a.example", "data", "host")
	expect(t, got, "me@example", "data", "mail")
	expect(t, got, "${DOMAIN}", "data", "kept")
	if len(o.Holes) > 0 || out.Level != gitindex.Rendered {
		t.Errorf("%v %v", o.Holes, out.Level)
	}

	out = must(t, src, unit(t, "  postBuild: {substituteFrom: [{kind: Secret, name: s}, {kind: ConfigMap, name: values}]}\n"))
	o, _ = find(t, out, "ConfigMap", "page")
	want := []gitindex.Hole{{Path: "data.mail", Why: "the variable MAIL of Secret flux-system/s"}}
	if !slices.Equal(o.Holes, want) || out.Level != gitindex.Templated {
		t.Errorf("%v %v", o.Holes, out.Level)
	}

	out = must(t, src, unit(t, "  postBuild: {substituteFrom: [{kind: ConfigMap, name: values}, {kind: Secret, name: s}], substitute: {REGION: us}}\n"))
	o, got = find(t, out, "ConfigMap", "page")
	expect(t, got, "us", "data", "region")
	if len(o.Holes) != 2 || o.Holes[0].Path != "data.host" || o.Holes[0].Pattern != `web\..*` {
		t.Errorf("%v", o.Holes)
	}
}

// TestMissingVariable: without a source that may hold it, it is an error, as
// for Flux from 1.9 on.
func TestMissingVariable(t *testing.T) {
	src := sources(t, map[string]string{"page.yaml": page}, values)
	if _, err := Build(src, unit(t, "  postBuild: {substituteFrom: [{kind: ConfigMap, name: values}]}\n")); err == nil || !strings.Contains(err.Error(), "MAIL") {
		t.Error(err)
	}
}

// TestDisabled objects keep their text.
func TestDisabled(t *testing.T) {
	text := strings.Replace(page, "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}", 1)
	out := must(t, sources(t, map[string]string{"page.yaml": text}), unit(t, "  postBuild: {substituteFrom: [{kind: Secret, name: s}]}\n"))
	o, got := find(t, out, "ConfigMap", "page")
	expect(t, got, "${MAIL}", "data", "mail")
	if len(o.Holes) > 0 {
		t.Error(o.Holes)
	}
}

// TestHoleInAList is anchored to its item, by key and by position.
func TestHoleInAList(t *testing.T) {
	src := sources(t, map[string]string{"w.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: w, namespace: shop}\nspec:\n  containers:\n  - name: web\n    image: a\n    args: [x, '${ARG}']\n" +
		"    env: [{name: A, value: a}, {name: B, value: 'b-${B:=c}'}]\n"})
	o, got := find(t, must(t, src, unit(t, "  postBuild: {substituteFrom: [{kind: Secret, name: s}]}\n")), "Pod", "w")
	expect(t, got, "b-c", "spec", "containers", 0, "env", 1, "value")
	var paths []string
	for _, h := range o.Holes {
		paths = append(paths, h.Path)
	}
	for _, p := range []string{"spec.containers[web].env[B].value", "spec.containers[web].args[1]"} {
		if !slices.Contains(paths, p) {
			t.Errorf("no %s among %v", p, paths)
		}
	}
	for _, p := range paths {
		if strings.Contains(p, "[A]") || strings.Contains(p, "[]") || strings.Contains(p, "env[0]") || strings.Contains(p, "args[0]") {
			t.Errorf("%s is open too", p)
		}
	}
}

// TestWrittenOver: what common metadata says is no hole any more.
func TestWrittenOver(t *testing.T) {
	src := sources(t, map[string]string{"x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: shop, labels: {team: '${T:=shop}', other: '${O:=shop}'}}\n"})
	o, _ := find(t, must(t, src, unit(t, "  commonMetadata: {labels: {team: shop}}\n  postBuild: {substituteFrom: [{kind: Secret, name: s}]}\n")), "ConfigMap", "x")
	if len(o.Holes) != 1 || o.Holes[0].Path != "metadata.labels.other" {
		t.Error(o.Holes)
	}
}

// TestItemNames never write a place that could be another item.
func TestItemNames(t *testing.T) {
	list := []any{
		map[string]any{"name": "1", "value": "x"},
		map[string]any{"name": "a", "mountPath": "/a"},
		map[string]any{"name": "b", "mountPath": "a"},
		map[string]any{"containerPort": int64(80), "protocol": "TCP"},
		map[string]any{"containerPort": int64(80), "protocol": "UDP"},
		"3",
	}
	for i, want := range [][]string{{"0"}, {"/a"}, {"b", "2"}, {"80,TCP"}, {"80,UDP", "4"}, {"5"}} {
		if got := itemNames(list, i); !slices.Equal(got, want) {
			t.Errorf("item %d is %v, not %v", i, got, want)
		}
	}
}

// TestUnsafeHoles leave the object out, with the reason.
func TestUnsafeHoles(t *testing.T) {
	for why, text := range map[string]string{
		"metadata.name depends":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'x-${N}', namespace: shop}\n",
		"metadata.namespace depends": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: '${N}'}\n",
		"a key below data":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: shop}\ndata: {'${N}': a}\n",
		"is computed":                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: shop}\ndata: {a: '${N/a/b}'}\n",
		"part of base64":             "apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: shop}\ndata: {a: 'YWJj${N}'}\n",
		"takes no text":              "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: shop}\nspec: {replicas: '${N}'}\n",
		"too long":                   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: shop}\ndata: {a: '${N}" + strings.Repeat("x", 2000) + "'}\n",
	} {
		out := must(t, sources(t, map[string]string{"x.yaml": text, "page.yaml": strings.ReplaceAll(page, "$", "")}), unit(t, "  postBuild: {substituteFrom: [{kind: Secret, name: s}]}\n"))
		if len(out.Objects) != 1 || len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Message, why) || out.Problems[0].Path != "x.yaml" {
			t.Errorf("%s: %d objects, %v", why, len(out.Objects), out.Problems)
		}
	}
}

const enc = "ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:"

const sopsSecret = `apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
type: Opaque
data: {cert: "` + enc + `str]"}
stringData: {password: "` + enc + `str]", open: clear}
sops: {mac: "` + enc + `str]", version: 3.9.0}
`

// TestSOPS: with decryption the keys are fixed and the values open; without, the
// document is refused.
func TestSOPS(t *testing.T) {
	custom := "apiVersion: example.org/v1\nkind: Box\nmetadata: {name: b, namespace: shop}\nspec: {size: '" + enc + "int]', list: [{name: x, on: '" + enc + "bool]'}]}\nsops: {mac: x}\n"
	src := sources(t, map[string]string{"s.yaml": sopsSecret, "b.yaml": custom})
	out := must(t, src, unit(t, "  decryption: {provider: sops}\n"))
	o, got := find(t, out, "Secret", "db")
	expect(t, got, nil, "sops")
	expect(t, got, base64.StdEncoding.EncodeToString([]byte("clear")), "data", "open")
	if data, _ := dig(got, []any{"data"}); len(data.(map[string]any)) != 3 {
		t.Error(data)
	}
	if len(o.Holes) != 2 || o.Holes[0].Path != "data.cert" || o.Holes[1].Path != "stringData.password" || out.Level != gitindex.Templated {
		t.Error(o.Holes)
	}
	o, got = find(t, out, "Box", "b")
	expect(t, got, 1.0, "spec", "size")
	expect(t, got, true, "spec", "list", 0, "on")
	if !slices.ContainsFunc(o.Holes, func(h gitindex.Hole) bool { return h.Path == "spec.list[x].on" }) {
		t.Error(o.Holes)
	}
	out = must(t, src, unit(t, "  path: ./\n"))
	if len(out.Objects) != 0 || len(out.Problems) != 2 {
		t.Errorf("%d objects, %v", len(out.Objects), out.Problems)
	}
}

// TestLive: spec.ignore names places, which follow the object's own lists.
func TestLive(t *testing.T) {
	src := sources(t, map[string]string{"w.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: w, namespace: shop}\nspec: {containers: [{name: web, image: a}]}\n"})
	o, _ := find(t, must(t, src, unit(t, "  ignore:\n  - {paths: [/spec/containers/0/image, /metadata/annotations/a~1b, /spec/nodeName], target: {kind: P.d}}\n  - {paths: [/spec], target: {kind: Deployment}}\n")), "Pod", "w")
	want := []string{"spec.containers[web].image", "spec.containers[0].image", "metadata.annotations[a/b]", "spec.nodeName"}
	if !slices.Equal(o.Live, want) {
		t.Error(o.Live)
	}
}

// TestSource: only a GitRepository can be this tree.
func TestSource(t *testing.T) {
	u := unit(t, "  path: ./\n")
	ref, _, err := Place(u)
	if err != nil || ref != (gitindex.Ref{Group: sourceGroup, Kind: "GitRepository", Namespace: "flux-system", Name: "flux-system"}) {
		t.Error(ref, err)
	}
	repository := "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\nspec: {url: 'https://example.org/x.git', ref: {branch: main}%s}\n"
	src := sources(t, map[string]string{"page.yaml": page}, strings.Replace(repository, "%s", "", 1))
	if url, follows := Fetches(src.Objects[ref]); url != "https://example.org/x.git" || follows != "main" {
		t.Error(url, follows)
	}
	var needs *render.NeedsError
	u.Opener = json.RawMessage(strings.Replace(string(u.Opener), "GitRepository", "OCIRepository", 1))
	if _, err := Build(src, u); !errors.As(err, &needs) || !strings.Contains(needs.What, "OCIRepository flux-system/flux-system") {
		t.Error(err)
	}
	must(t, src, func() render.Unit { u := unit(t, ""); return u }())
	src = sources(t, nil, strings.Replace(repository, "%s", ", include: [{repository: {name: x}}]", 1))
	if _, err := Build(src, unit(t, "")); !errors.As(err, &needs) {
		t.Error(err)
	}
}

// TestArtifact leaves out what source-controller does not pack.
func TestArtifact(t *testing.T) {
	named := func(name string) string {
		return strings.ReplaceAll(strings.ReplaceAll(page, "$", ""), "name: page", "name: "+name)
	}
	files := map[string]string{"a.yaml": named("a"), "old/b.yaml": named("b"), ".github/c.yaml": named("c"), "d/.sops.yaml": named("d")}
	repository := "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\nspec: {url: x, ignore: '%s'}\n"
	names := func(out render.Output) (all []string) {
		for _, o := range out.Objects {
			all = append(all, o.Name)
		}
		slices.Sort(all)
		return all
	}
	if got := names(must(t, sources(t, files), unit(t, ""))); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("by default: %v", got)
	}
	if got := names(must(t, sources(t, files, strings.Replace(repository, "%s", "old/", 1)), unit(t, ""))); !slices.Equal(got, []string{"a", "c", "d"}) {
		t.Errorf("by spec.ignore: %v", got)
	}
	files["old/.sourceignore"] = "b.yaml\n"
	if got := names(must(t, sources(t, files), unit(t, ""))); !slices.Equal(got, []string{"a", "c", "d"}) {
		t.Errorf("by .sourceignore: %v", got)
	}
}

// TestOtherCluster: what goes elsewhere is not declared here.
func TestOtherCluster(t *testing.T) {
	out := must(t, sources(t, map[string]string{"a.yaml": strings.ReplaceAll(page, "$", "")}), unit(t, "  kubeConfig: {secretRef: {name: x}}\n"))
	if len(out.Objects) != 0 {
		t.Error(out.Objects)
	}
}

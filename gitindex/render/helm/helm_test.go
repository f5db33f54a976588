package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/Masterminds/sprig/v3"
	"golang.org/x/tools/txtar"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

func tree(files ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(strings.Join(files, ""))).Files {
		out[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return out
}

func shop(t testing.TB) (fstest.MapFS, string) {
	text, err := os.ReadFile("testdata/shop.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := tree(string(text))
	want := string(files["want"].Data)
	delete(files, "want")
	return files, want
}

// list says in a line each what there is.
func list(objects []render.Object) string {
	var all []string
	for _, o := range objects {
		line := fmt.Sprintf("%v of %s\n", gitindex.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}, o.Path)
		if o.Hook {
			line = "Hook " + line
		}
		if o.Bare {
			line = "Bare " + line
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func TestShop(t *testing.T) {
	files, want := shop(t)
	src := render.Alone{FS: files}
	got, err := Build(src, files, "shop", render.HelmOptions{ReleaseName: "live", Namespace: "front"}, render.Cluster{})
	if err != nil {
		t.Fatal(err)
	}
	if list(got) != want {
		t.Errorf("got\n%swant\n%s", list(got), want)
	}
	if !got[0].Bare {
		t.Error("CRDs do not come first")
	}
	for _, o := range got {
		if o.Name == "config" && !bytes.Contains(o.JSON, []byte(`"big":"1e+06","outside":"","secret":"","text":"ends with the document\n"`)) {
			t.Errorf("%s", o.JSON)
		}
		if o.Name == "live-web" && !bytes.Contains(o.JSON, []byte(`"value":"db.example"`)) {
			t.Errorf("the imported value is not there: %s", o.JSON)
		}
	}
	skipping := render.HelmOptions{ReleaseName: "live", SkipCRDs: true, SkipTests: true}
	if got, err = Build(src, files, "shop", skipping, render.Cluster{}); err != nil || len(got) != 8 {
		t.Errorf("%d objects without CRDs and tests, %v", len(got), err)
	}
	skipping.SkipHooks = true
	if got, err = Build(src, files, "shop", skipping, render.Cluster{}); err != nil || len(got) != 7 {
		t.Errorf("%d objects without CRDs and hooks, %v", len(got), err)
	}
}

// TestShopAgainstHelm renders with Helm's own action, the local dependency put
// where "helm dependency build" puts it.
func TestShopAgainstHelm(t *testing.T) {
	files, _ := shop(t)
	src := render.Alone{FS: files}
	for i, o := range []render.HelmOptions{
		{}, {IsUpgrade: true}, {ValuesFiles: []string{"values-live.yaml"}},
		{ValuesFiles: []string{"/shop/values-live.yaml"}, Values: json.RawMessage(`{"replicas":7,"tags":{"fast":true},"db":{"enabled":false}}`)},
	} {
		o.ReleaseName, o.Namespace = "live", "front"
		got, err := Build(src, files, "shop", o, render.Cluster{})
		if err != nil {
			t.Fatal(i, err)
		}
		var packed []*archive.BufferedFile
		for name, f := range files {
			if name, ok := strings.CutPrefix(name, "shop/"); ok && !strings.HasPrefix(name, "secret/") && !strings.HasSuffix(name, ".bak") {
				packed = append(packed, &archive.BufferedFile{Name: name, Data: f.Data})
			}
			if name, ok := strings.CutPrefix(name, "db/"); ok {
				packed = append(packed, &archive.BufferedFile{Name: "charts/db/" + name, Data: f.Data})
			}
		}
		c, err := loader.LoadFiles(packed)
		if err != nil {
			t.Fatal(err)
		}
		given, err := Release{Sources: src, Chart: files, Dir: "shop", Options: o}.given()
		if err != nil {
			t.Fatal(err)
		}
		rel, err := dryRun(c, o, given)
		if err != nil {
			t.Fatal(i, err)
		}
		same(t, rel, got)
	}
}

const chartYAML = "-- c/Chart.yaml --\napiVersion: v2\nname: c\nversion: 1.0.0\n"

func configMap(value string) string {
	return "-- c/templates/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  v: " + value + "\n"
}

func build(files fstest.MapFS) ([]render.Object, error) {
	return Build(render.Alone{FS: files}, files, "c", render.HelmOptions{}, render.Cluster{})
}

// TestUnstable has for each function that Git does not settle one chart that
// depends on it.
func TestUnstable(t *testing.T) {
	for f, template := range map[string]string{
		"now":                      `{{ now | date "2006-01-02" | quote }}`,
		"ago":                      `{{ ago (toDate "2006-01-02" "2024-01-01") | quote }}`,
		"date":                     `{{ date "2006" "" | quote }}`,
		"htmlDate":                 `{{ htmlDate nil | quote }}`,
		"dateInZone":               `{{ dateInZone "15:04" (toDate "2006-01-02" "2024-01-01") "America/New_York" | quote }}`,
		"durationRound":            `{{ durationRound (toDate "2006-01-02" "2024-01-01") | quote }}`,
		"randAlphaNum":             `{{ randAlphaNum 8 | b64enc | quote }}`,
		"randAlpha":                `{{ randAlpha 8 | quote }}`,
		"randNumeric":              `{{ randNumeric 1 | quote }}`,
		"randAscii":                `{{ randAscii 8 | quote }}`,
		"randBytes":                `{{ randBytes 8 | quote }}`,
		"randInt":                  `{{ if gt (randInt 0 10) 5 }}high{{ else }}low{{ end }}`,
		"shuffle":                  `{{ shuffle "abc" | quote }}`,
		"uuidv4":                   `{{ uuidv4 | quote }}`,
		"bcrypt":                   `{{ bcrypt "p" | quote }}`,
		"htpasswd":                 `{{ htpasswd "u" "p" | quote }}`,
		"encryptAES":               `{{ encryptAES "k" "p" | quote }}`,
		"genPrivateKey":            `{{ genPrivateKey "rsa" | b64enc | quote }}`,
		"genCA":                    `{{ (genCA "ca" 365).Cert | b64enc | quote }}`,
		"genSelfSignedCert":        `{{ (genSelfSignedCert "cn" nil nil 365).Key | b64enc | quote }}`,
		"genSignedCert":            `{{ $ca := dict }}{{ (genSignedCert "cn" nil nil 365 $ca).Key | b64enc | quote }}`,
		"lookup":                   `{{ if lookup "v1" "Secret" "ns" "n" }}there{{ else }}missing{{ end }}`,
		"keys":                     `{{ keys (dict "a" 1 "b" 2) | join "," | quote }}`,
		"values":                   `{{ values (dict "a" 1 "b" 2) | join "," | quote }}`,
		helmVersion:                `{{ .Capabilities.HelmVersion.Version | quote }}`,
		memory:                     `{{ printf "%p" .Values | quote }}`,
		memory + " ":               `{{ print . | quote }}`,
		helmVersion + " ":          `{{ .Capabilities | toJson | quote }}`,
		"getHostByName is nothing": `{{ getHostByName "localhost" | quote }}`,
	} {
		objects, err := build(tree(chartYAML, configMap(template)))
		if strings.Contains(f, " is nothing") {
			if err != nil || !bytes.Contains(objects[0].JSON, []byte(`"v":""`)) {
				t.Errorf("%s: %v", f, err)
			}
			continue
		}
		if !errors.Is(err, render.ErrUnstable) || !strings.Contains(err.Error(), "ConfigMap a depends on "+strings.TrimSpace(f)+", in c/templates/a.yaml") {
			t.Errorf("%s: %d objects, %v", f, len(objects), err)
		}
	}
}

// TestStable has charts that call such functions and do not depend on them.
func TestStable(t *testing.T) {
	for _, template := range []string{
		`{{ if .Values.password }}x{{ else }}{{ $unused := randAlphaNum 8 }}y{{ end }}`,
		`{{ keys (dict "a" 1 "b" 2) | sortAlpha | join "," | quote }}`,
		`{{ $ca := genCA "ca" 365 }}{{ $c := genSignedCert "cn" nil nil 365 $ca }}{{ $d := buildCustomCert (b64enc $ca.Cert) (b64enc $ca.Key) }}{{ hasPrefix "-----BEGIN" $d.Cert }}x`,
		`{{ $s := lookup "v1" "Secret" "ns" "n" }}{{ default "same" nil }}`,
		`{{ date "2006-01-02" 1700000000 | quote }}`,
		`{{ toDate "2006-01-02" "2024-02-30" | date "2006" | quote }}`,
		`{{ len (uuidv4) }}x`,
		`{{ durationRound "95m" | quote }}`,
		`{{ if .Capabilities.HelmVersion.Version }}x{{ end }}`,
		`"0xc0ffee"`,
	} {
		objects, err := build(tree(chartYAML, configMap(template)))
		if err != nil || len(objects) != 1 {
			t.Errorf("%s: %d objects, %v", template, len(objects), err)
		}
	}
}

// TestLookupThatFails is the usual way to keep a password: with the Secret there,
// the template reads from it.
func TestLookupThatFails(t *testing.T) {
	_, err := build(tree(chartYAML, configMap(`{{ with lookup "v1" "Secret" "ns" "n" }}{{ .data.a.b }}{{ else }}x{{ end }}`)))
	if !errors.Is(err, render.ErrUnstable) || !strings.Contains(err.Error(), "lookup") {
		t.Error(err)
	}
}

// TestFunctionsAreKnown fails when Sprig gets functions that nobody has looked at:
// is what they give settled by their arguments?
func TestFunctionsAreKnown(t *testing.T) {
	if n := len(sprig.GenericFuncMap()); n != 211 {
		t.Errorf("Sprig has %d functions", n)
	}
	known := sprig.GenericFuncMap()
	for name := range newWorld().functions() {
		if _, ok := known[name]; !ok && name != "lookup" {
			t.Errorf("%s stands in for nothing", name)
		}
	}
}

func TestLimits(t *testing.T) {
	many, deep, large := tree(chartYAML), tree(chartYAML), tree(chartYAML)
	for i := range maxFiles {
		many[fmt.Sprintf("c/files/%d", i)] = &fstest.MapFile{}
	}
	deep["c"+strings.Repeat("/d", maxDepth+1)+"/f"] = &fstest.MapFile{}
	for i := range 3 {
		large[fmt.Sprintf("c/files/%d", i)] = &fstest.MapFile{Data: make([]byte, maxBytes/2)}
	}
	for want, files := range map[string]fstest.MapFS{"more than 20000 files": many, "directories deep": deep, "larger than 64 MiB": large} {
		if _, err := build(files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

// TestPresents checks that no field of the two times agrees.
func TestPresents(t *testing.T) {
	for _, layout := range []string{"2006", "06", "01", "Jan", "02", "Mon", "002", "15", "03", "PM", "04", "05", ".000"} {
		if a, b := present.Format(layout), otherPresent.Format(layout); a == b {
			t.Errorf("%s: both %s", layout, a)
		}
	}
}

func TestRefusals(t *testing.T) {
	good := configMap("x")
	dependency := "dependencies: [{name: redis, version: 1.x.x, repository: %s}]\n"
	for name, c := range map[string]struct {
		files []string
		o     render.HelmOptions
		want  string
	}{
		"no chart":             {files: []string{"-- c/a --\n"}, want: "Chart.yaml file is missing"},
		"the environment":      {files: []string{chartYAML, configMap(`{{ env "HOME" }}`)}, want: `function "env" not defined`},
		"it, expanded":         {files: []string{chartYAML, configMap(`{{ expandenv "$HOME" }}`)}, want: `function "expandenv" not defined`},
		"what required says":   {files: []string{chartYAML, configMap(`{{ required "say v" .Values.v }}`)}, want: "say v"},
		"values outside":       {files: []string{chartYAML, good}, o: render.HelmOptions{ValuesFiles: []string{"../../v.yaml"}}, want: "is not in the tree"},
		"values at the root":   {files: []string{chartYAML, good}, o: render.HelmOptions{ValuesFiles: []string{"/../v.yaml"}}, want: "is not in the tree"},
		"no values file":       {files: []string{chartYAML, good}, o: render.HelmOptions{ValuesFiles: []string{"v.yaml"}}, want: "c/v.yaml"},
		"broken values file":   {files: []string{chartYAML, good, "-- c/v.yaml --\na: [\n"}, o: render.HelmOptions{ValuesFiles: []string{"v.yaml"}}, want: "v.yaml does not parse"},
		"values that are text": {files: []string{chartYAML, good}, o: render.HelmOptions{Values: json.RawMessage(`"a"`)}, want: "no map"},
		"a name":               {files: []string{chartYAML, good}, o: render.HelmOptions{ReleaseName: "Not_A_Name"}, want: "cannot be a release's name"},
		"another Kubernetes":   {files: []string{chartYAML + "kubeVersion: '>= 2.0'\n", good}, want: "is for Kubernetes >= 2.0, not for v1.37.0"},
		"a schema":             {files: []string{chartYAML, good, "-- c/values.schema.json --\n{\"required\":[\"host\"]}\n"}, want: "do not fit values.schema.json of the chart c"},
		"broken output":        {files: []string{chartYAML, configMap("[")}, want: "line 6 of a document as it was rendered: does not parse"},
		"no object":            {files: []string{chartYAML, "-- c/templates/a.yaml --\na: 1\n"}, want: "renders a document that is no object"},
		"a generated name":     {files: []string{chartYAML, "-- c/templates/a.yaml --\napiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n"}, want: "generateName"},
		"a key twice":          {files: []string{chartYAML, "-- c/templates/a.yaml --\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nmetadata: {name: b}\n"}, want: "c/templates/a.yaml"},
		"a repository's alias": {files: []string{chartYAML + fmt.Sprintf(dependency, `"@stable"`), good}, want: `"@stable" stands for is not in Git`},
		"no repository":        {files: []string{chartYAML + fmt.Sprintf(dependency, `""`), good}, want: "names no repository"},
		"a chart outside":      {files: []string{chartYAML + fmt.Sprintf(dependency, `file://../../redis`), good}, want: "is not in the tree"},
		"a lock that is old": {files: []string{chartYAML + fmt.Sprintf(dependency, "https://charts.example"), good,
			"-- c/Chart.lock --\ndependencies: [{name: redis, version: 0.9.0, repository: https://charts.example}]\n"}, want: "Chart.lock does not fit"},
		"a dependency of the wrong version": {files: []string{chartYAML + fmt.Sprintf(dependency, "file://../redis"), good,
			"-- redis/Chart.yaml --\napiVersion: v2\nname: redis\nversion: 2.0.0\n"}, want: "not in the range 1.x.x"},
		"two of one name": {files: []string{chartYAML, good,
			"-- c/charts/a/Chart.yaml --\napiVersion: v2\nname: r\nversion: 1.0.0\n-- c/charts/b/Chart.yaml --\napiVersion: v2\nname: r\nversion: 2.0.0\n"}, want: "holds the chart r twice"},
		"templates that call themselves": {files: []string{chartYAML, configMap(`{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`)}, want: "nested reference name"},
		"too much":                       {files: []string{chartYAML, configMap(`{{ range until 70 }}{{ repeat 1000000 "x" }}{{ end }}`)}, want: "make more than 64 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			files := tree(c.files...)
			objects, err := Build(render.Alone{FS: files}, files, "c", c.o, render.Cluster{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d objects, %v; want %q", len(objects), err, c.want)
			}
		})
	}
}

func TestSchemaFromElsewhere(t *testing.T) {
	for _, schema := range []string{`{"$ref":"https://schemas.example/values.json"}`, `{"$ref":"https://schemas.example/values.json#/definitions/a"}`,
		`{"$ref":"file:///etc/passwd"}`, `{"$ref":"other.json"}`} {
		if objects, err := build(tree(chartYAML, configMap("x"), "-- c/values.schema.json --\n"+schema+"\n")); err != nil || len(objects) != 1 {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

// asked is a tree with charts from elsewhere, by how people write them.
type asked struct {
	render.Alone
	charts map[string]fs.FS
	refs   *[]string
}

func (a asked) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	*a.refs = append(*a.refs, ref.String())
	if c, ok := a.charts[ref.String()]; ok {
		return c, render.Pin{}, nil
	}
	return a.Alone.Chart(ref)
}

func TestDependenciesFromElsewhere(t *testing.T) {
	files := tree(`-- c/Chart.yaml --
apiVersion: v2
name: c
version: 1.0.0
dependencies:
- {name: redis, version: 1.x.x, repository: "https://charts.example"}
- {name: queue, version: 2.0.0, repository: "oci://ghcr.io/acme/charts", alias: mail, condition: mail.enabled}
- {name: unused, version: 2.0.0, repository: "https://charts.example", condition: unused.enabled}
-- c/Chart.lock --
dependencies:
- {name: redis, version: 1.9.0, repository: "https://charts.example"}
- {name: queue, version: 2.0.0, repository: "oci://ghcr.io/acme/charts"}
- {name: unused, version: 2.0.0, repository: "https://charts.example"}
-- c/values.yaml --
unused: {enabled: false}
`)
	remote := func(name, version string) fs.FS {
		return tree("-- Chart.yaml --\napiVersion: v2\nname: " + name + "\nversion: " + version + "\n" +
			"-- templates/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Chart.Name }}\"}\n")
	}
	var refs []string
	src := asked{render.Alone{FS: files}, map[string]fs.FS{}, &refs}
	_, err := Build(src, files, "c", render.HelmOptions{}, render.Cluster{})
	var needs *render.NeedsError
	if !errors.As(err, &needs) || !strings.Contains(needs.What, "https://charts.example redis 1.9.0") {
		t.Fatal(err)
	}
	src.charts["https://charts.example redis 1.9.0"] = remote("redis", "1.9.0")
	src.charts["oci://ghcr.io/acme/charts/queue 2.0.0"] = remote("queue", "2.0.0")
	got, err := Build(src, files, "c", render.HelmOptions{}, render.Cluster{})
	if err != nil {
		t.Fatal(err)
	}
	want := "ConfigMap mail of c/charts/queue/templates/a.yaml\nConfigMap redis of c/charts/redis/templates/a.yaml\n"
	if list(got) != want {
		t.Errorf("got\n%s", list(got))
	}
	if slices.ContainsFunc(refs, func(s string) bool { return strings.Contains(s, " unused ") }) {
		t.Errorf("asked for what is switched off: %q", refs)
	}
	// A chart that is itself from elsewhere has no place in the tree.
	got, err = Build(src, remote("redis", "1.9.0"), ".", render.HelmOptions{}, render.Cluster{})
	if err != nil || list(got) != "ConfigMap redis of redis/templates/a.yaml\n" {
		t.Errorf("%s, %v", list(got), err)
	}
}

// TestIgnored: .helmignore counts in a tree, also at its root, and not in what was
// packed, where it has counted already.
func TestIgnored(t *testing.T) {
	files := tree("-- Chart.yaml --\napiVersion: v2\nname: c\nversion: 1.0.0\n-- .helmignore --\ntemplates/b.yaml\n",
		"-- templates/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n-- templates/b.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n")
	for want, src := range map[string]render.Sources{
		"ConfigMap a of templates/a.yaml\n":                                      render.Alone{FS: files},
		"ConfigMap a of c/templates/a.yaml\nConfigMap b of c/templates/b.yaml\n": render.Alone{FS: fstest.MapFS{}},
	} {
		if got, err := Build(src, files, "", render.HelmOptions{}, render.Cluster{}); err != nil || list(got) != want {
			t.Errorf("got %s, %v; want %s", list(got), err, want)
		}
	}
}

func TestHooksAsTheyArePrinted(t *testing.T) {
	files := tree(chartYAML, "-- c/templates/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {helm.sh/hook: pre-install}}\ndata:\n  v: |\n    x\n{{- /* no line break */ -}}\n")
	r := Release{Chart: files, Dir: "c"}
	for want, printed := range map[string]bool{`"v":"x"`: false, `"v":"x\n"`: true} {
		r.Printed = printed
		if got, err := r.Objects(); err != nil || !bytes.Contains(got[0].JSON, []byte(want)) {
			t.Errorf("printed %v: %v, %s", printed, err, got[0].JSON)
		}
	}
}

// TestCapabilities: where Helm asks the cluster, old versions that it knows are
// not there, and kinds are.
func TestCapabilities(t *testing.T) {
	const template = `{{ range list "policy/v1" "policy/v1beta1" "apps/v1/Deployment" "example.org/v1" "other.org/v1" }}{{ if $.Capabilities.APIVersions.Has . }}{{ . }} {{ end }}{{ end }}{{ .Capabilities.KubeVersion }}`
	files := tree(chartYAML, configMap(template))
	r := Release{Chart: files, Dir: "c", Cluster: render.Cluster{APIVersions: []string{"example.org/v1"}, KubeVersion: "v1.36.1"}}
	for want, change := range map[string]func(){
		"policy/v1 policy/v1beta1 example.org/v1 v1.36.1":     func() {},
		"policy/v1 apps/v1/Deployment example.org/v1 v1.36.1": func() { r.InCluster = true },
	} {
		r.InCluster = false
		change()
		if got, err := r.Objects(); err != nil || !bytes.Contains(got[0].JSON, []byte(`"v":"`+want+`"`)) {
			t.Errorf("%v; want %s, got %+v", err, want, got)
		}
	}
	r.Options = render.HelmOptions{APIVersions: []string{"other.org/v1"}, KubeVersion: "1.37.2"}
	r.InCluster = true
	if got, err := r.Objects(); err != nil || !bytes.Contains(got[0].JSON, []byte(`"v":"policy/v1 apps/v1/Deployment other.org/v1 v1.37.2"`)) {
		t.Errorf("%v, %+v", err, got)
	}
}

func FuzzBuild(f *testing.F) {
	f.Add("apiVersion: v2\nname: c\nversion: 1.0.0\n", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: {{ now }}}\n", "a: 1")
	f.Fuzz(func(t *testing.T, chart, template, values string) {
		if strings.Contains(template, "repeat") || strings.Contains(template, "until") || strings.Contains(template, "seq") {
			t.Skip("the process above bounds what a template may cost")
		}
		files := fstest.MapFS{"c/Chart.yaml": {Data: []byte(chart)}, "c/templates/a.yaml": {Data: []byte(template)}, "c/values.yaml": {Data: []byte(values)}}
		objects, err := build(files)
		if err != nil && objects != nil {
			t.Error("objects beside an error")
		}
		again, errAgain := build(files)
		if (err == nil) != (errAgain == nil) || list(objects) != list(again) {
			t.Errorf("differs the second time: %v, %v", err, errAgain)
		}
	})
}

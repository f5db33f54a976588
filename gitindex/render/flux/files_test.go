package flux

import (
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex"
)

const sopsEnv = "USER=" + enc + "str]\nOPEN=clear\nsops_version=3.9.0\nsops_mac=" + enc + "str]\n"

// TestGeneratedSecrets: what Flux decrypts before it builds is open, and so is
// the end of a name that is a hash over it.
func TestGeneratedSecrets(t *testing.T) {
	src := sources(t, map[string]string{
		"kustomization.yaml": `namespace: shop
resources: [pod.yaml]
secretGenerator:
- {name: fixed, envs: [db.env], options: {disableNameSuffixHash: true}}
- {name: hashed, files: [values.yaml=values.enc.yaml]}
patches: [{path: patch.yaml}]
`,
		"db.env":          sopsEnv,
		"values.enc.yaml": "a: '" + enc + "str]'\nsops:\n    mac: " + enc + "str]\n",
		"patch.yaml":      "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {secret: '" + enc + "str]'}}\nsops:\n    mac: " + enc + "str]\n",
		"pod.yaml":        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c, image: i, envFrom: [{secretRef: {name: fixed}}]}]\n  volumes: [{name: v, secret: {secretName: hashed}}]\n",
	})
	out := must(t, src, unit(t, "  decryption: {provider: sops}\n"))

	o, fixed := find(t, out, "Secret", "fixed")
	if data, _ := dig(fixed, []any{"data"}); len(data.(map[string]any)) != 2 {
		t.Errorf("%v", data)
	}
	expect(t, fixed, "Y2xlYXI=", "data", "OPEN")
	if len(o.Holes) != 1 || o.Holes[0].Path != "data.USER" || o.Holes[0].Pattern != "" {
		t.Error(o.Holes)
	}

	o, pod := find(t, out, "Pod", "p")
	expect(t, pod, "fixed", "spec", "containers", 0, "envFrom", 0, "secretRef", "name")
	patterns := map[string]string{}
	for _, h := range o.Holes {
		patterns[h.Path] = h.Pattern
	}
	if len(patterns) != 3 || patterns["spec.volumes[v].secret.secretName"] != "hashed-[a-z0-9]{10}" || patterns["metadata.annotations.secret"] != "" {
		t.Error(o.Holes)
	}

	if len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Message, "Secret hashed-") || out.Level != gitindex.Templated {
		t.Errorf("%v %v", out.Problems, out.Level)
	}
	for _, o := range out.Objects {
		if strings.Contains(string(o.JSON), "sops") {
			t.Errorf("%s", o.JSON)
		}
	}
}

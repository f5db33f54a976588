package flux

import (
	"bytes"
	"encoding/gob"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// keyed are sources of an Origin that has keys.
type keyed struct {
	render.Alone
	keys render.Keys
}

func (k keyed) Keys() (render.Keys, error) { return k.keys, nil }

// sopsFile is one that sops itself wrote: see the sops room's tests.
func sopsFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "sops", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func ageKeys(t *testing.T, name string) render.Keys {
	t.Helper()
	keys, err := render.NewKeys("platform", []string{sopsFile(t, name)})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

const (
	password = "correct-horse-battery-staple"
	user     = "administrator-of-everything"
)

func digestAt(o render.Object, path string) string {
	i := slices.IndexFunc(o.Holes, func(h gitindex.Hole) bool { return h.Path == path })
	if i < 0 {
		return "no hole"
	}
	return o.Holes[i].Digest
}

const decrypting = "  decryption: {provider: sops}\n"

// TestBoundSecret: with the key, each hole takes one value; the kustomization
// may add what it likes around them.
func TestBoundSecret(t *testing.T) {
	keys := ageKeys(t, "age.agekey")
	for name, more := range map[string]string{"alone": "", "in a kustomization": "resources: [s.yaml]\nnamePrefix: my-\nlabels: [{pairs: {team: a}}]\n"} {
		files := map[string]string{"s.yaml": sopsFile(t, "secret.yaml")}
		prefix := ""
		if more != "" {
			files["kustomization.yaml"], prefix = more, "my-"
		}
		out := must(t, keyed{sources(t, files), keys}, unit(t, decrypting))
		if len(out.Problems) > 0 {
			t.Fatalf("%s: %v", name, out.Problems)
		}
		o, got := find(t, out, "Secret", prefix+"db")
		if digestAt(o, "data.password") != keys.Sum([]byte(password)) || digestAt(o, "stringData.user") != keys.Sum([]byte(user)) || len(o.Holes) != 2 {
			t.Errorf("%s: the holes are %v", name, o.Holes)
		}
		expect(t, got, "", "data", "empty")
		expect(t, got, nil, "sops")
		if out.Level != gitindex.Templated {
			t.Errorf("%s: the level is %s", name, out.Level)
		}
		noPlain(t, out, password, user)
	}
}

// noPlain looks for any eight bytes of a value, as it is and as base64.
func noPlain(t *testing.T, out render.Output, values ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&out); err != nil {
		t.Fatal(err)
	}
	for _, v := range append(values, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==", "YWRtaW5pc3RyYXRvci1vZi1ldmVyeXRoaW5n", "AGE-SECRET-KEY") {
		for i := 0; i+8 <= len(v); i++ {
			if bytes.Contains(b.Bytes(), []byte(v[i:i+8])) {
				t.Errorf("the output holds %q of a value", v[i:i+8])
			}
		}
	}
}

// TestBoundTypes: numbers and truths are bound as well.
func TestBoundTypes(t *testing.T) {
	keys := ageKeys(t, "age.agekey")
	out := must(t, keyed{sources(t, map[string]string{"b.yaml": sopsFile(t, "box.yaml")}), keys}, unit(t, decrypting))
	if len(out.Problems) > 0 {
		t.Fatal(out.Problems)
	}
	o, _ := find(t, out, "Box", "box")
	for path, want := range map[string]string{"spec.size": "48151623", "spec.ratio": "0.25", "spec.whole": "2", "spec.open": "false", "spec.list[first].token": "token-of-the-first-item"} {
		if digestAt(o, path) != keys.Sum([]byte(want)) {
			t.Errorf("%s has another digest than that of %s", path, want)
		}
	}
	noPlain(t, out, "48151623", "token-of-the-first-item")
}

// TestBoundRefused: what no key opens, or what was changed since, is left out
// with the reason.
func TestBoundRefused(t *testing.T) {
	secret := sopsFile(t, "secret.yaml")
	for name, c := range map[string]struct{ key, file, why string }{
		"another key":        {"other.agekey", secret, "no age key of the Origin opens it"},
		"a value beside":     {"age.agekey", strings.Replace(secret, "type: Opaque", "type: example.org/other", 1), "MAC does not fit"},
		"a value replaced":   {"age.agekey", strings.Replace(secret, "namespace: shop", "namespace: other", 1), "MAC does not fit"},
		"a value in clear":   {"age.agekey", strings.Replace(secret, "stringData:\n", "stringData:\n    more: clear\n", 1), "not encrypted"},
		"a leaf of another":  {"age.agekey", strings.Replace(secret, "    user:", "    admin:", 1), "stringData.admin"},
		"key groups":         {"age.agekey", strings.Replace(secret, "sops:\n", "sops:\n    key_groups: [{age: []}]\n", 1), "key groups"},
		"the MAC of another": {"age.agekey", withMACOf(secret, sopsFile(t, "changed.yaml")), "MAC"},
	} {
		if c.file == secret && c.key == "age.agekey" {
			t.Fatalf("%s: nothing was changed", name)
		}
		out := must(t, keyed{sources(t, map[string]string{"s.yaml": c.file}), ageKeys(t, c.key)}, unit(t, decrypting))
		if len(out.Objects) != 0 || len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Message, c.why) || out.Problems[0].Path != "s.yaml" {
			t.Errorf("%s: %d objects, %v", name, len(out.Objects), out.Problems)
		}
		noPlain(t, out, password, user)
	}
}

func withMACOf(file, other string) string {
	mac := func(text string) string {
		_, after, _ := strings.Cut(text, "\n    mac: ")
		line, _, _ := strings.Cut(after, "\n")
		return line
	}
	return strings.Replace(file, mac(file), mac(other), 1)
}

// TestBoundVariables: a value that spec.postBuild changes cannot be compared.
func TestBoundVariables(t *testing.T) {
	keys := ageKeys(t, "age.agekey")
	src := keyed{sources(t, map[string]string{"s.yaml": sopsFile(t, "variable.yaml")}), keys}
	out := must(t, src, unit(t, decrypting+"  postBuild: {substitute: {color: red}}\n"))
	if len(out.Objects) != 0 || len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Message, "stringData.changed: the decrypted value is changed by spec.postBuild") {
		t.Errorf("%d objects, %v", len(out.Objects), out.Problems)
	}
	noPlain(t, out, "costs-5$-or-more", "the-${color}-door")
	o, _ := find(t, must(t, src, unit(t, decrypting)), "Secret", "variable")
	if digestAt(o, "stringData.changed") != keys.Sum([]byte("the-${color}-door")) || digestAt(o, "stringData.plain") != keys.Sum([]byte("costs-5$-or-more")) {
		t.Errorf("the holes are %v", o.Holes)
	}
}

// TestBoundChange: the same object with another value is another object, which
// whoever looks for the commit of a change relies on.
func TestBoundChange(t *testing.T) {
	keys := ageKeys(t, "age.agekey")
	one, _ := find(t, must(t, keyed{sources(t, map[string]string{"s.yaml": sopsFile(t, "secret.yaml")}), keys}, unit(t, decrypting)), "Secret", "db")
	two, _ := find(t, must(t, keyed{sources(t, map[string]string{"s.yaml": sopsFile(t, "changed.yaml")}), keys}, unit(t, decrypting)), "Secret", "db")
	if bytes.Equal(one.JSON, two.JSON) || digestAt(one, "data.password") == digestAt(two, "data.password") || digestAt(one, "stringData.user") != digestAt(two, "stringData.user") {
		t.Errorf("%v, then %v", one.Holes, two.Holes)
	}
	other, err := render.NewKeys("another", []string{sopsFile(t, "age.agekey")})
	if err != nil || other.Sum([]byte(password)) == keys.Sum([]byte(password)) {
		t.Errorf("two Origins have one digest: %v", err)
	}
}

package sops

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"go.yaml.in/yaml/v3"
)

// The files of testdata were made by sops 3.13.3 itself:
//
//	sops -e --age RECIPIENT --encrypted-regex '^(data|stringData)$' secret.yaml
//
// and likewise with --mac-only-encrypted, --encrypted-suffix Data,
// --unencrypted-regex '^(metadata|kind|apiVersion|type)$', and without a rule.
var fixtures = []string{"secret.yaml", "onlyencrypted.yaml", "unencryptedregex.yaml", "encryptedsuffix.yaml", "types.yaml", "types.json",
	"variable.yaml", "box.yaml", "changed.yaml"}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func identities(t testing.TB, name string) []age.Identity {
	t.Helper()
	ids, err := Identities([]string{string(read(t, name))})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func parsed(t testing.TB, data []byte) map[string]any {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func unlocked(t testing.TB, data []byte) *Key {
	t.Helper()
	k, err := Unlock(parsed(t, data)["sops"], identities(t, "age.agekey"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatSOPSWrote(t *testing.T) {
	for _, name := range fixtures {
		data := read(t, name)
		k := unlocked(t, data)
		if err := k.Check(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !k.Holds(data) || k.Holds([]byte("mac: x")) {
			t.Errorf("%s: it does not tell itself from others", name)
		}
	}
}

func TestLeaves(t *testing.T) {
	secret, types := parsed(t, read(t, "secret.yaml")), parsed(t, read(t, "types.yaml"))
	inner := types["e"].([]any)[2].(map[string]any)
	h := types["h"].(map[string]any)
	for _, c := range []struct {
		from  string
		leaf  any
		names []string
		want  Value
	}{
		{"secret.yaml", secret["data"].(map[string]any)["password"], []string{"data", "password"}, Value{"str", "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ=="}},
		{"secret.yaml", secret["data"].(map[string]any)["empty"], []string{"data", "empty"}, Value{"str", ""}},
		{"secret.yaml", secret["stringData"].(map[string]any)["user"], []string{"stringData", "user"}, Value{"str", "administrator-of-everything"}},
		{"types.yaml", types["a"], []string{"a"}, Value{"str", "text-of-the-fixture"}},
		{"types.yaml", types["b"], []string{"b"}, Value{"int", int64(7)}},
		{"types.yaml", types["c"], []string{"c"}, Value{"float", 1.5}},
		{"types.yaml", types["d"], []string{"d"}, Value{"bool", true}},
		{"types.yaml", types["e"].([]any)[0], []string{"e"}, Value{"str", "one-of-the-list"}},
		{"types.yaml", inner["f"], []string{"e", "f"}, Value{"bool", false}},
		{"types.yaml", inner["g"], []string{"e", "g"}, Value{"float", -3.25}},
		{"types.yaml", h["i"], []string{"h", "i"}, Value{"str", "several\nlines\n"}},
		{"types.yaml", h["l"], []string{"h", "l"}, Value{"time", "2024-05-06T07:08:09Z"}},
		{"types.yaml", h["m"], []string{"h", "m"}, Value{"float", 1000.0}},
	} {
		got, err := unlocked(t, read(t, c.from)).Open(c.leaf.(string), c.names)
		if err != nil || got.Type != c.want.Type || got.Plain != c.want.Plain {
			t.Errorf("%s %v: %#v (%v), want type %s", c.from, c.names, got.Plain, err, c.want.Type)
		}
	}
}

func TestTampered(t *testing.T) {
	data := string(read(t, "secret.yaml"))
	k := unlocked(t, []byte(data))
	o := parsed(t, []byte(data))
	password := o["data"].(map[string]any)["password"].(string)
	user := o["stringData"].(map[string]any)["user"].(string)
	for name, changed := range map[string]string{
		"a plain value":        strings.Replace(data, "name: db", "name: dc", 1),
		"a value added":        strings.Replace(data, "type: Opaque", "type: Opaque\nextra: 1", 1),
		"a value left out":     strings.Replace(data, "type: Opaque\n", "", 1),
		"values swapped":       strings.NewReplacer(password, user, user, password).Replace(data),
		"a value not at all":   strings.Replace(data, user, "clear", 1),
		"a number instead":     strings.Replace(data, user, "5", 1),
		"plain ones reordered": strings.Replace(data, "    name: db\n    namespace: shop\n", "    namespace: shop\n    name: db\n", 1),
	} {
		if changed == data {
			t.Errorf("%s: nothing was changed", name)
		}
		err := k.Check([]byte(changed))
		if err == nil {
			t.Errorf("%s: it still fits", name)
			continue
		}
		for _, secret := range []string{"battery", "YmF0", "administrator", "Y29y", "AGE-SECRET"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error says a value: %v", name, err)
			}
		}
	}
	// The time of the last change is bound to the MAC, the place to a leaf.
	later := parsed(t, []byte(data))["sops"].(map[string]any)
	later["lastmodified"] = "2001-02-03T04:05:06Z"
	if k, err := Unlock(later, identities(t, "age.agekey")); err != nil || k.Check([]byte(data)) == nil {
		t.Errorf("another time fits: %v", err)
	}
	if v, err := k.Open(password, []string{"data", "user"}); err == nil {
		t.Errorf("a leaf opens at another place: %v", v)
	}
	if err := unlocked(t, read(t, "onlyencrypted.yaml")).Check([]byte(strings.Replace(string(read(t, "onlyencrypted.yaml")), "name: db", "name: dc", 1))); err != nil {
		t.Errorf("mac_only_encrypted leaves plain values free: %v", err)
	}
}

func TestUnlock(t *testing.T) {
	data := read(t, "secret.yaml")
	under := func() map[string]any { return parsed(t, data)["sops"].(map[string]any) }
	for _, ids := range [][]age.Identity{nil, identities(t, "other.agekey")} {
		if _, err := Unlock(under(), ids); !errors.Is(err, ErrNoKey) {
			t.Errorf("%d identities: %v", len(ids), err)
		}
	}
	for field, value := range map[string]any{
		"key_groups": []any{map[string]any{}}, "encrypted_suffix": "x", "encrypted_comment_regex": "x",
		"encrypted_regex": "(", "age": "x", "unencrypted_regex": strings.Repeat("a", 2000),
	} {
		m := under()
		m[field] = value
		if _, err := Unlock(m, identities(t, "age.agekey")); err == nil {
			t.Errorf("%s = %v is taken", field, value)
		}
	}
	for _, text := range []string{"", "# nothing", "AGE-SECRET-KEY-1QQQQQQ", "hunter2hunter2"} {
		if _, err := Identities([]string{text}); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestBombs: an alias that unfolds without end, and nesting without end.
func TestBombs(t *testing.T) {
	k := unlocked(t, read(t, "secret.yaml"))
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		before := string(n[0] - 1)
		item := "*a" + before
		bomb += "a" + n + ": &a" + n + " [" + strings.Repeat(item+", ", 9) + item + "]\n"
	}
	for name, file := range map[string]string{"aliases": bomb, "nesting": strings.Repeat("[", 5000), "deep": "a: " + strings.Repeat("{a: ", 500) + strings.Repeat("}", 500), "long": strings.Repeat("#", maxFile+1)} {
		if err := k.Check([]byte(file)); err == nil {
			t.Errorf("%s: it fits", name)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, name := range fixtures {
		f.Add(read(f, name))
	}
	ids := identities(f, "age.agekey")
	f.Fuzz(func(t *testing.T, data []byte) {
		var object map[string]any
		if len(data) > 1<<16 || yaml.Unmarshal(data, &object) != nil {
			return
		}
		k, err := Unlock(object["sops"], ids)
		if err != nil {
			if strings.Contains(err.Error(), "AGE-SECRET") {
				t.Fatal(err)
			}
			return
		}
		if err := k.Check(data); err != nil && (strings.Contains(err.Error(), "battery") || strings.Contains(err.Error(), "administrator")) {
			t.Fatalf("the error says a value: %v", err)
		}
	})
}

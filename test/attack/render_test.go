package attack

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"

	"github.com/gitward/gitward/gitindex/render"
)

// shards are pieces of files that parsers are known to read differently.
//
// Open: the line breaks that only YAML knows (CR, U+0085, U+2028, U+2029) before a
// "---" at a document's beginning, and a byte order mark that is not the file's
// first, are not among them: there Gitward reads an object that stands in the
// file, and kubectl reads nothing.
var shards = []string{
	cm("1"), cm("2"), "---\n", "--- \n", "---\r\n", "--- # c\n", "---#\n", "--- x\n", "---x\n", "...\n", "... \n", "...\n---\n", "%YAML 1.1\n", "\n", "\r\n", "\r",
	"# c\n", " ", "\t", "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"},\"data\":{\"value\":\"3\"}}", "{}", "[]", "null\n", "~\n",
	"data: {value: evil}\n", "Data: {value: evil}\n", "kind: Secret\n", "\"kind\": Secret\n", "'data': {value: evil}\n", "? data\n: {value: evil}\n",
	"x: &a {value: evil}\n", "data: *a\n", "<<: *a\n", "data:\n  <<: {value: evil}\n", "data:\n  value: !!str 1\n  other: !!binary ZXZpbA==\n", "  yes: 1\n  \"true\": 2\n",
	"data:\n  value: |\n    ---\n    x\n", "data:\n  value: 'a\n\n    b'\n", "data: {n: 0777, m: 0o777, o: 0x1F, p: 1_000, q: 1e3, r: .5, s: 1:30, t: 2001-01-01, u: yes, v: ~}\n",
	"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: web, namespace: shop}\n  data: {value: \"4\"}\n",
	"apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: web, namespace: shop}\n", "items: []\n", "items:\n- {}\n", "\x00", "\u00a0",
	"metadata: {name: evil}\n", "metadata:\n  name: evil\n  annotations: {config.kubernetes.io/local-config: \"true\"}\n", "sops: {mac: x}\n", "\"\\ud83d\\ude00\"", "- a\n", "a: b: c\n", "'", "\"", "|", ">",
}

// TestFilesMeanWhatKubectlReads: whatever a file is made of, an object that
// Gitward takes it to declare is one that kubectl reads there, and in a file
// without a problem there is none that kubectl reads and Gitward does not.
func TestFilesMeanWhatKubectlReads(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	declared := 0
	for range 10_000 {
		var b strings.Builder
		for range 1 + random.IntN(6) {
			b.WriteString(shards[random.IntN(len(shards))])
		}
		text := b.String()
		if random.IntN(3) == 0 {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		if random.IntN(8) == 0 {
			text = "\ufeff" + text
		}
		objects, problems := render.File("a.yaml", []byte(text), render.Limits{})
		want, whole := kubectl([]byte(text))
		for _, o := range objects {
			declared++
			var v any
			if err := kjson.UnmarshalCaseSensitivePreserveInts(o.JSON, &v); err != nil {
				t.Fatal(err)
			}
			if !contains(want, v) && whole {
				t.Errorf("of %q Gitward reads %s, kubectl %v", text, o.JSON, want)
			}
		}
		if len(problems) == 0 && whole && len(want) != len(objects) && !beginsAsJSON(text) {
			t.Errorf("of %q Gitward reads %d objects, kubectl %d, and there is no problem: %v", text, len(objects), len(want), want)
		}
	}
	if declared < 400 {
		t.Errorf("only %d objects were declared: the test bites no more", declared)
	}
}

// beginsAsJSON: kubectl then takes the first JSON value off and goes on behind
// it, which nothing else does. Known: such a document declares nothing, and
// says so only where it does not parse as YAML either.
func beginsAsJSON(text string) bool {
	for _, doc := range strings.Split(text, "---") {
		if strings.HasPrefix(strings.TrimLeftFunc(doc, func(r rune) bool { return unicode.IsSpace(r) || r == 0xfeff }), "{") {
			return true
		}
	}
	return false
}

func contains(list []any, v any) bool {
	for _, x := range list {
		if reflect.DeepEqual(x, v) {
			return true
		}
	}
	return false
}

// kubectl reads a file as kubectl apply does; whole is false if it would stop
// with an error.
func kubectl(data []byte) (objects []any, whole bool) {
	d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var raw runtime.RawExtension
		if err := d.Decode(&raw); err != nil {
			return objects, errors.Is(err, io.EOF)
		}
		raw.Raw = bytes.TrimSpace(raw.Raw)
		if len(raw.Raw) == 0 || bytes.Equal(raw.Raw, []byte("null")) {
			continue
		}
		var v map[string]any
		if kjson.UnmarshalCaseSensitivePreserveInts(raw.Raw, &v) != nil {
			return objects, false
		}
		objects = append(objects, expand(v)...)
	}
}

// expand takes lists apart, and leaves out what kubectl would not send.
func expand(v map[string]any) []any {
	kind, _ := v["kind"].(string)
	version, _ := v["apiVersion"].(string)
	if kind == "" || version == "" {
		return nil
	}
	items, ok := v["items"].([]any)
	if !ok {
		return []any{v}
	}
	var out []any
	for _, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		if m["kind"] == nil && m["apiVersion"] == nil && strings.TrimSuffix(kind, "List") != "" {
			m["kind"], m["apiVersion"] = strings.TrimSuffix(kind, "List"), version
		}
		out = append(out, expand(m)...)
	}
	return out
}

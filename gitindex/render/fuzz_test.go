package render

import (
	"bytes"
	"encoding/json"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

var fuzzLimits = Limits{File: 1 << 14, Documents: 20, Depth: 30, Nodes: 2000}

func seeds(f *testing.F) {
	for _, s := range []string{
		a, "# c\n---\n" + a + "\n...\n---\n" + a, "a: &a [*a]", "x: &x {a: 1}\ny: {<<: *x, ? b : 2}\n",
		"kind: List\napiVersion: v1\nitems:\n- " + a + "\n", "{\"a\": [1, 1.0, 1e9]}", "\ufeff---\r\na: 'b\n---\n'", "a: |\n  ---\n--- x\n", "%YAML 1.1\n---\na: !!binary aGk=\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n1: a\nyes: b\n.5: c\n? [a]\n: b",
	} {
		f.Add([]byte(s))
	}
}

// FuzzFile: never panics, bounded output, valid sorted JSON, lines inside the
// file, and for what is accepted the meaning that sigs.k8s.io/yaml gives it.
func FuzzFile(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, problems := File("f.yaml", data, fuzzLimits)
		lines := 1 + bytes.Count(data, []byte("\n"))
		size := 0
		for _, o := range objects {
			size += len(o.JSON)
			var v any
			if err := json.Unmarshal(o.JSON, &v); err != nil {
				t.Fatalf("%s: %v", o.JSON, err)
			}
			if o.Line < 1 || o.End < o.Line {
				t.Fatalf("lines %d-%d of %d", o.Line, o.End, lines)
			}
		}
		if size > 40*fuzzLimits.File {
			t.Fatalf("%d bytes became %d", len(data), size)
		}
		for _, p := range problems {
			if p.Message == "" || p.Line < 0 {
				t.Fatalf("%#v", p)
			}
		}
		if len(problems) == 0 {
			agree(t, data, objects)
		}
	})
}

// agree reads the file again with nothing but a split and sigs.k8s.io/yaml,
// and once more by the strict parser for keys.
func agree(t *testing.T, data []byte, objects []Object) {
	rest := objects
	for _, doc := range bytes.Split(append([]byte("\n"), bytes.TrimPrefix(data, byteOrderMark)...), []byte("\n---")) {
		if i := bytes.IndexByte(doc, '\n'); i >= 0 {
			doc = doc[i:] // what else stood on the separator's line
		} else {
			continue
		}
		var v map[string]any
		if err := yaml.Unmarshal(doc, &v); err != nil {
			continue
		}
		if v["apiVersion"] == nil || v["kind"] == nil || v["items"] != nil {
			continue
		}
		want, err := json.Marshal(v)
		if err != nil || len(rest) == 0 || !sameJSON(rest[0].JSON, want) {
			continue // left out, or a list's item: the next object may be it
		}
		rest = rest[1:]
		var strict yamlv3.Node
		if yamlv3.Unmarshal(doc, &strict) != nil {
			t.Fatalf("accepted, but one of the two parsers refuses: %s", doc)
		}
	}
}

func sameJSON(x, y []byte) bool {
	var a, b any
	if json.Unmarshal(x, &a) != nil || json.Unmarshal(y, &b) != nil {
		return false
	}
	s, _ := json.Marshal(a)
	r, _ := json.Marshal(b)
	return bytes.Equal(s, r)
}

// FuzzRead: a document that is accepted as one object is what sigs.k8s.io/yaml
// reads, and nothing else.
func FuzzRead(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, problems := Read(text, fuzzLimits)
		if len(problems) > 0 || len(objects) != 1 {
			return
		}
		var v map[string]any
		if err := yaml.Unmarshal(text, &v); err != nil {
			if json.Valid(text) {
				return // JSON that YAML does not read, as kubectl reads it
			}
			t.Fatalf("accepted what sigs.k8s.io/yaml refuses: %v", err)
		}
		if v["items"] != nil {
			return
		}
		want, _ := json.Marshal(v)
		if !sameJSON(objects[0].JSON, want) {
			t.Fatalf("%s is not %s", objects[0].JSON, want)
		}
	})
}

// FuzzDocuments: the documents are slices of the file, in order, none with a
// separator inside, and their lines are right.
func FuzzDocuments(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		body := bytes.TrimPrefix(data, byteOrderMark)
		from := 0
		for _, doc := range Documents(data) {
			i := bytes.Index(body[from:], doc.Text)
			if i < 0 {
				t.Fatalf("%q is not in the rest of the file", doc.Text)
			}
			lines := bytes.SplitAfter(body, []byte("\n"))
			if rest := bytes.Join(lines[doc.Line-1:], nil); !bytes.HasPrefix(rest, doc.Text) {
				t.Fatalf("line %d does not begin %q", doc.Line, doc.Text)
			}
			for line := range bytes.Lines(doc.Text) {
				if separates(line) {
					t.Fatalf("a separator inside %q", doc.Text)
				}
			}
			from += i + len(doc.Text)
		}
	})
}

package engine

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/policy"
)

var update = flag.Bool("update", false, "rewrite the endings of the stories")

// TestStories plays testdata/*/*.txtar: prose, then the files of a directory,
// requests, and how it ends.
//
//	-- request a name --   object, oldObject; operation (CREATE); point (admission);
//	                       request: more of the request; anything else of the input
//	-- want --             a line for each finding, or what is wrong with the directory
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range stories {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/"), ".txtar"), func(t *testing.T) { play(t, file) })
	}
}

func play(t *testing.T, file string) {
	story, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := policy.Files{}
	var requests []txtar.File
	want := -1
	for i, f := range story.Files {
		switch {
		case f.Name == "want":
			want = i
		case strings.HasPrefix(f.Name, "request"):
			requests = append(requests, f)
		default:
			files[f.Name] = f.Data
		}
	}
	got := tell(t, files, requests)
	if *update {
		if want < 0 {
			story.Files = append(story.Files, txtar.File{Name: "want"})
			want = len(story.Files) - 1
		}
		story.Files[want].Data = got
		if err := os.WriteFile(file, txtar.Format(story), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want < 0 || !bytes.Equal(got, story.Files[want].Data) {
		t.Errorf("it ends\n%s", got)
	}
}

// tell is how a story ends.
func tell(t *testing.T, files policy.Files, requests []txtar.File) []byte {
	var out bytes.Buffer
	b := Read(files)
	e, problems := b.Engine()
	for _, p := range problems {
		fmt.Fprintln(&out, "problem", p.String())
	}
	if e == nil {
		return out.Bytes()
	}
	for _, r := range requests {
		fmt.Fprintf(&out, "%s:\n", strings.TrimSpace(strings.TrimPrefix(r.Name, "request")))
		v := posed(t, r.Data)
		for _, p := range e.Policies() {
			for _, f := range v.Evaluate(p) {
				fmt.Fprintf(&out, "  %s %s %s.%s %s:%d: %s\n", f.Action, f.Kind, f.Policy, f.Rule, f.File, f.Line, f.Message)
				for _, more := range []struct {
					name  string
					value any
				}{{"title", f.Title}, {"fix", f.Fix}, {"details", f.Details}} {
					if more.value != nil && more.value != "" {
						fmt.Fprintf(&out, "    %s: %v\n", more.name, more.value)
					}
				}
			}
		}
	}
	return out.Bytes()
}

// posed is a story's request before the policies.
func posed(t *testing.T, text []byte) *Evaluation {
	in := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &in); err != nil {
		t.Fatal(err)
	}
	point, _ := in["point"].(string)
	request := map[string]any{"uid": "1", "operation": "CREATE", "userInfo": map[string]any{"username": "ada"}}
	if op, ok := in["operation"]; ok {
		request["operation"] = op
	}
	for _, key := range []string{"oldObject", "object"} {
		request[key] = in[key]
		object, ok := in[key].(map[string]any)
		if !ok {
			continue
		}
		api, _ := object["apiVersion"].(string)
		group, version, grouped := strings.Cut(api, "/")
		if !grouped {
			group, version = "", api
		}
		request["kind"] = map[string]any{"group": group, "version": version, "kind": object["kind"]}
		if m, ok := object["metadata"].(map[string]any); ok {
			request["name"], request["namespace"] = m["name"], m["namespace"]
		}
	}
	if more, ok := in["request"].(map[string]any); ok {
		maps.Copy(request, more)
	}
	for _, key := range []string{"point", "operation", "object", "oldObject"} {
		delete(in, key)
	}
	in["apiVersion"], in["kind"], in["request"] = "admission.k8s.io/v1", "AdmissionReview", request
	asJSON, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewEvaluation(asJSON, policy.Point(or(point, string(policy.Admission))))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

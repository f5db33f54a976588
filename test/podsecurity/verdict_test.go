package podsecurity

import (
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/gitward/gitward/policies"
)

// verdict is which controls of a profile deny a pod.
type verdict map[string]bool

// profilesOf is a verdict for each profile.
type profilesOf map[string]verdict

// ours are the policies as Gitward ships them.
type ours struct{ query rego.PreparedEvalQuery }

func load(t testing.TB) ours {
	t.Helper()
	return edited(t, func(_, text string) string { return text })
}

// edited are the policies with something wrong in them.
func edited(t testing.TB, edit func(name, text string) string) ours {
	t.Helper()
	options := []func(*rego.Rego){rego.Query("data.gitward.pod_security"), rego.StrictBuiltinErrors(true), rego.Strict(true)}
	err := fs.WalkDir(policies.FS, "pod-security", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".rego" || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		text, err := fs.ReadFile(policies.FS, name)
		options = append(options, rego.Module(name, edit(name, string(text))))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	query, err := rego.New(options...).PrepareForEval(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return ours{query}
}

// ask gives the verdict on a request, and holds every denial to a message and a
// fix that fit into what a developer reads.
func (o ours) ask(t testing.TB, request object) profilesOf {
	t.Helper()
	input, err := ast.InterfaceToValue(copied(object{"request": request}))
	if err != nil {
		t.Fatal(err)
	}
	results, err := o.query.Eval(context.Background(), rego.EvalParsedInput(input))
	if err != nil {
		t.Fatalf("%v: %s", err, must(json.Marshal(request)))
	}
	out := profilesOf{}
	for profile, controls := range results[0].Expressions[0].Value.(object) {
		out[profile] = verdict{}
		for control, module := range controls.(object) {
			denials, ok := module.(object)["deny"].([]any)
			if !ok {
				continue
			}
			out[profile][control] = len(denials) > 0
			for _, denial := range denials {
				msg, _ := denial.(object)["msg"].(string)
				fix, _ := denial.(object)["fix"].(string)
				if msg == "" || fix == "" || len([]rune(msg)) > 200 || strings.Contains(msg+fix, "%!") {
					t.Errorf("%s.%s: msg %q, fix %q", profile, control, msg, fix)
				}
			}
		}
	}
	return out
}

// denied reports whether any control denies.
func (v verdict) denied() bool { return slices.Contains(slices.Collect(maps.Values(v)), true) }

// creation asks for a pod as it is.
func creation(p object) object {
	return object{"operation": "CREATE", "kind": object{"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop", "name": "shop", "object": p}
}

// wrappers are the kinds that make pods, with a pod in them.
var wrappers = []struct {
	kind string
	wrap func(template object) object
}{
	{"Deployment", inSpec}, {"StatefulSet", inSpec}, {"DaemonSet", inSpec}, {"ReplicaSet", inSpec}, {"ReplicationController", inSpec}, {"Job", inSpec},
	{"PodTemplate", func(template object) object { return object{"template": template} }},
	{"CronJob", func(template object) object { return object{"spec": object{"jobTemplate": inSpec(template)}} }},
}

func inSpec(template object) object { return object{"spec": object{"template": template}} }

// wrapped asks for the i-th kind that makes this pod.
func wrapped(i int, p object) object {
	w := wrappers[i%len(wrappers)]
	request := creation(w.wrap(object{"metadata": p["metadata"], "spec": p["spec"]}))
	request["kind"] = object{"group": "any", "version": "v1", "kind": w.kind}
	return request
}

package gate

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// documented holds that a table of the docs has the rows that the code has. With
// -update it is written anew.
func documented(t *testing.T, file, head string, rows []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(data), head)
	if !ok {
		t.Fatalf("%s has no table that begins with\n%s", file, head)
	}
	for strings.HasPrefix(after, "|") {
		_, after, _ = strings.Cut(after, "\n")
	}
	want := before + head + strings.Join(rows, "") + after
	if want == string(data) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the code says; write it with: go test ./gate -run %s -update", file, t.Name())
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestVerbsDocumented: docs/verbs.md has the rules that the code has.
func TestVerbsDocumented(t *testing.T) {
	var rows []string
	for _, v := range Verbs() {
		rows = append(rows, fmt.Sprintf("| %s | `%s` | %s |\n", v.Operation, v.Resource, v.Rule))
	}
	documented(t, "../docs/verbs.md", "| operation | resource | who may, and when |\n|---|---|---|\n", rows)
}

// TestControllersDocumented: docs/controllers.md has who may write what, make what
// and keep what.
func TestControllersDocumented(t *testing.T) {
	const file = "../docs/controllers.md"
	var writes, makes, keeps []string
	for _, r := range controllerTable {
		limits := ""
		if r.holds != nil {
			limits = "certain values"
		}
		if r.over {
			limits = strings.TrimPrefix(limits+", also over Git's", ", ")
		}
		writes = append(writes, fmt.Sprintf("| %s | `%s` | %s | %s |\n", kinds(r.kinds), r.path, users(r.by), limits))
	}
	for _, m := range append(slices.Clone(makers), claimMaker, endpointsMaker) {
		held := "its owner's template"
		if m.yields == nil {
			held = "the controller's own content"
		}
		makes = append(makes, fmt.Sprintf("| %s | %s | %s | %s |\n", m.owner, m.child, users(m.by), held))
	}
	for _, r := range platformTable {
		keeps = append(keeps, fmt.Sprintf("| %s | %s | `%s` | %s |\n", r.kind, orDash(r.namespace), r.name, users(r.by)))
	}
	documented(t, file, "| of | makes | who | held against |\n|---|---|---|---|\n", makes)
	documented(t, file, "| kind | path | who | limits |\n|---|---|---|---|\n", writes)
	documented(t, file, "| kind | namespace | name | who |\n|---|---|---|---|\n", keeps)
}

func kinds(list []string) string {
	if len(list) > 3 {
		return "kinds of " + strings.SplitN(list[0], ".", 2)[1] + " and its siblings"
	}
	return strings.Join(list, ", ")
}

// users names the accounts of kube-system by their last part, as people do.
func users(list []string) string {
	var out []string
	for _, u := range list {
		switch name := strings.TrimPrefix(u, accountPrefix+"kube-system:"); {
		case u == controllerManager && len(list) > 1:
			continue // stands for all of them where it runs without accounts of its own
		case u == nodePrefix:
			out = append(out, "the kubelet of that Node")
		case u == "system:":
			out = append(out, "parts of Kubernetes, service accounts")
		case u == "system:bootstrap:":
			out = append(out, "bootstrap tokens")
		default:
			out = append(out, strings.TrimPrefix(name, accountPrefix))
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return "`" + s + "`"
}

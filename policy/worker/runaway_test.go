package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/policy"
)

// runaways are rules that somebody hostile could sign, or somebody tired. What
// is refused never runs.
var runaways = map[string]struct{ rule, refused string }{
	// Loops.
	"loops in loops":        {rule: `deny contains "x" if { some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); a + b == 0 }`},
	"a product of ranges":   {rule: `deny contains "x" if { count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); some c in numbers.range(1, 3000)]) == 0 }`},
	"every":                 {rule: `deny contains "x" if { every a in numbers.range(1, 10000) { every b in numbers.range(1, 10000) { a + b > 0 } }; false }`},
	"a large range":         {rule: `deny contains "x" if { count(numbers.range(1, 2000000000)) == 0 }`},
	"walks in walks":        {rule: "t := {sprintf(\"%d\", [i]): {\"a\": i} | some i in numbers.range(1, 3000)}\n\ndeny contains \"x\" if { walk(t, a); walk(t, b); walk(t, c); a == [b, c] }"},
	"functions, 2 to the n": {rule: chainOf("f%d(x) := y if { y := f%d(x * 2) + f%d(x * 2 + 1) }", 60)},
	// Big numbers.
	"shift":              {rule: `deny contains "x" if { bits.lsh(1, 4000000000) == 0 }`},
	"squares of squares": {rule: squares(40) + "\n\ndeny contains \"x\" if { v40 == 0 }"},
	"a long number":      {rule: `deny contains "x" if { to_number(concat("", [d | some _ in numbers.range(1, 3000000); d := "9"])) == 0 }`},
	"format of format":   {rule: `deny contains "x" if { count(sprintf("%0999999d%0999999d%0999999d", [1, 2, 3])) == sum([count(sprintf("%0999999d", [i])) | some i in numbers.range(1, 5000)]) }`},
	"product":            {rule: `deny contains "x" if { product(numbers.range(1, 200000)) == 0 }`},
	"modulo of products": {rule: `deny contains "x" if { some i in numbers.range(1, 1000); product(numbers.range(1, 20000)) % (i + 7) == 1000 }`},
	// Text.
	"doubling a string": {rule: doubled(40, `concat("", [V, V])`, `"aaaaaaaaaaaaaaaa"`) + "\n\ndeny contains \"x\" if { v40 == \"\" }"},
	"replace":           {rule: doubled(30, `replace(V, "a", "aa")`, `"aaaaaaaa"`) + "\n\ndeny contains \"x\" if { v30 == \"\" }"},
	"split":             {rule: "t := concat(\"\", [\"ab\" | some _ in numbers.range(1, 200000)])\n\ndeny contains \"x\" if { some i in numbers.range(1, 5000); count(split(t, \"b\")) == i }"},
	"indexof_n":         {rule: "t := concat(\"\", [\"a\" | some _ in numbers.range(1, 100000)])\n\ndeny contains \"x\" if { some i in numbers.range(1, 5000); count(indexof_n(t, \"a\")) == i }"},
	"upper":             {rule: "t := concat(\"\", [\"ab\" | some _ in numbers.range(1, 500000)])\n\ndeny contains \"x\" if { some i in numbers.range(1, 100000); upper(t) == sprintf(\"%d\", [i]) }"},
	"a template":        {rule: `deny contains "x" if { strings.render_template("{{range $a := .a}}{{range $b := $.a}}{{range $c := $.a}}{{range $d := $.a}}x{{end}}{{end}}{{end}}{{end}}", {"a": numbers.range(1, 1000)}) == "" }`},
	// Regular expressions.
	"regex on much":  {rule: "t := concat(\"\", [\"a\" | some _ in numbers.range(1, 400000)])\n\ndeny contains \"x\" if { some i in numbers.range(1, 1000); regex.match(sprintf(`(a?){900}b%d$`, [i]), t) }"},
	"many matches":   {rule: "t := concat(\"\", [\"ab\" | some _ in numbers.range(1, 300000)])\n\ndeny contains \"x\" if { some i in numbers.range(1, 1000); count(regex.find_n(`a`, t, -1)) == i }"},
	"regex replaced": {rule: doubled(28, "regex.replace(V, `a`, \"aa\")", `"aaaaaaaa"`) + "\n\ndeny contains \"x\" if { v28 == \"\" }"},
	// Values.
	"doubling an array": {rule: doubled(40, `array.concat(V, V)`, `[1, 2, 3, 4]`) + "\n\ndeny contains \"x\" if { count(v40) == 0 }"},
	"arrays in arrays":  {doubled(45, `[V, V]`, `[1]`) + "\n" + strings.ReplaceAll(doubled(45, `[V, V]`, `[1]`), "v", "w") + "\n\ndeny contains \"x\" if { v45 == w45; v45 != w45 }", "took longer than"},
	"arrays told":       {rule: doubled(45, `[V, V]`, `[1]`) + "\n\ndeny contains v45"},
	"patches":           {rule: doubled(34, `json.patch(V, [{"op": "add", "path": "/b", "value": V}, {"op": "copy", "from": "/b", "path": "/c"}])`, `{"a": 1}`) + "\n\ndeny contains \"x\" if { json.marshal(v34) == \"\" }"},
	"sets":              {rule: "s := {[a, b] | some a in numbers.range(1, 2000); some b in numbers.range(1, 2000)}\n\ndeny contains \"x\" if { count(s) == 0 }"},
	"paths of a graph":  {rule: "g := {sprintf(\"%d\", [i]): [sprintf(\"%d\", [j]) | some j in numbers.range(1, 14); j != i] | some i in numbers.range(1, 14)}\n\ndeny contains \"x\" if { count(graph.reachable_paths(g, {\"1\"})) == 0 }"},
	"unions":            {rule: `deny contains "x" if { count(object.union_n([{sprintf("%d", [i]): numbers.range(1, 3000)} | some i in numbers.range(1, 20000)])) == 0 }`},
	"addresses":         {rule: `deny contains "x" if { count(net.cidr_expand("10.0.0.0/7")) == 0 }`},
	"deep data":         {rule: doubled(45, `{"a": V, "b": V}`, `{"c": 1}`) + "\n\ndeny contains \"x\" if { json.marshal(v45) == \"\" }"},
	"sorting":           {rule: `deny contains "x" if { some i in numbers.range(1, 1000); l := sort([k | some j in numbers.range(1, 100000); k := (j * 7919) % 100003]); l[0] == i + 1 }`},
	"digests":           {rule: "t := concat(\"\", [\"ab\" | some _ in numbers.range(1, 500000)])\n\ndeny contains \"x\" if { some i in numbers.range(1, 100000); crypto.sha256(t) == sprintf(\"%d\", [i]) }"},

	// What is not for policies at all.
	"the network":          {`deny contains "x" if { http.send({"method": "get", "url": "http://127.0.0.1:1"}).status_code == 1 }`, "http.send is not for policies"},
	"names":                {`deny contains "x" if { net.lookup_ip_addr("localhost") }`, "net.lookup_ip_addr is not for policies"},
	"the environment":      {`deny contains "x" if { opa.runtime().env.PATH }`, "opa.runtime is not for policies"},
	"the clock":            {`deny contains "x" if { time.now_ns() % 2 == 0 }`, "input.time is the time of the request"},
	"chance":               {`deny contains "x" if { rand.intn("x", 2) == 0 }`, "rand.intn is not for policies"},
	"a schema elsewhere":   {`deny contains "x" if { json.match_schema({}, {"$ref": "http://127.0.0.1:1/s.json"})[0] }`, "json.match_schema is not for policies"},
	"a schema that checks": {`deny contains "x" if { json.verify_schema({"$ref": "http://127.0.0.1:1/s.json"})[0] }`, "json.verify_schema is not for policies"},
	"itself":               {`deny contains "x" if { count(deny) == 0 }`, "recursive"},
	"Rego in Rego":         {`deny contains "x" if { rego.parse_module("x", "package x") }`, "rego.parse_module is not for policies"},
}

// chainOf are functions of which each calls the next twice.
func chainOf(form string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, form+"\n\n", i, i+1, i+1)
	}
	fmt.Fprintf(&b, "f%d(x) := x\n\ndeny contains \"x\" if { f0(1) == 0 }", n)
	return b.String()
}

func squares(n int) string {
	var b strings.Builder
	b.WriteString("v0 := 3\n\n")
	for i := range n {
		fmt.Fprintf(&b, "v%d := v%d * v%d\n\n", i+1, i, i)
	}
	return b.String()
}

// doubled are rules of which each makes its value of the one before.
func doubled(n int, form, first string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v0 := %s\n\n", first)
	for i := range n {
		fmt.Fprintf(&b, "v%d := %s\n\n", i+1, strings.ReplaceAll(form, "V", fmt.Sprintf("v%d", i)))
	}
	return b.String()
}

// TestRunaways: each is refused when it is loaded, or ended, or errs; and the
// policy beside it says what it always says.
func TestRunaways(t *testing.T) {
	c := config(t)
	c.Children, c.Patience = 1, 5*time.Second
	refused, ended, erred := 0, 0, 0
	for name, r := range runaways {
		text := "package runaway\n\n" + r.rule + "\n"
		t.Run(name, func(t *testing.T) {
			p, err := Start(c, []Bundle{module("honest", honest), module("runaway", text)})
			if err != nil {
				if r.refused == "" || !strings.Contains(err.Error(), r.refused) {
					t.Errorf("compiling: %v, want %q", err, r.refused)
				}
				refused++
				return
			}
			defer p.Close()
			if problems := p.Loaded[1].Problems; r.refused != "" || len(problems) > 0 {
				if len(problems) == 0 || !strings.Contains(fmt.Sprint(problems), r.refused) || r.refused == "" {
					t.Errorf("problems %v, want %q", problems, r.refused)
				}
				refused++
			}
			asked := Question{Bundles: []int{0, 1}, Point: policy.Admission, Input: request(t, `{"data":{"bad":"1"}}`)}
			if r.refused != "" {
				if found, err := p.Ask(context.Background(), asked); err == nil {
					t.Errorf("what did not compile is asked, and finds %v", found)
				}
				asked.Bundles = []int{0}
			}
			began := time.Now()
			found, err := p.Ask(context.Background(), asked)
			took := time.Since(began)
			if err != nil {
				t.Fatal(err)
			}
			mine, others := 0, 0
			for _, f := range found {
				switch {
				case f.Policy == "honest" && f.Message == "bad is not good":
					mine++
				case f.Policy == "runaway" && f.Kind != policy.Violation:
					others++
					t.Logf("%v: %s: %s", took, f.Kind, f.Message)
					if f.Kind == policy.Overrun {
						ended++
					} else {
						erred++
					}
				default:
					t.Errorf("%+v", f)
				}
			}
			if mine != 1 || (r.refused == "") != (others == 1) {
				t.Errorf("found %v", found)
			}
			if took > 30*c.Budget {
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Logf("%d refused at load, %d ended, %d erred", refused, ended, erred)
}

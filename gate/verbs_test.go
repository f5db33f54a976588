package gate

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestVerbsDocumented holds that docs/verbs.md has the rules that the code has.
// With -update it is written anew.
func TestVerbsDocumented(t *testing.T) {
	const file = "../docs/verbs.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| operation | resource | who may, and when |\n|---|---|---|\n"
	before, after, ok := strings.Cut(string(data), head)
	if !ok {
		t.Fatalf("%s has no table of rules", file)
	}
	if i := strings.Index(after, "\n\n"); i >= 0 {
		after = after[i+1:]
	} else {
		after = ""
	}
	var table strings.Builder
	for _, v := range Verbs() {
		fmt.Fprintf(&table, "| %s | `%s` | %s |\n", v.Operation, v.Resource, v.Rule)
	}
	want := before + head + table.String() + after
	if want == string(data) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the code says; write it with: go test ./gate -run TestVerbsDocumented -update", file)
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

package controller

import (
	"fmt"
	"strings"
	"testing"
)

// nested is a Kustomization whose patches give the object at path another name
// and a Kustomization's spec, and so on, so many times.
func nested(depth int, namespace string) string {
	var b strings.Builder
	pad := ""
	fmt.Fprintf(&b, "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: n0, namespace: %s}\nspec:\n", namespace)
	for i := range depth {
		pad += "  "
		fmt.Fprintf(&b, "%spath: ./seed\n%ssourceRef: {kind: GitRepository, name: flux-system}\n", pad, pad)
		fmt.Fprintf(&b, "%spatches:\n%s- target: {kind: Kustomization}\n%s  options: {allowNameChange: true}\n%s  patch: |\n", pad, pad, pad, pad)
		pad += "    "
		fmt.Fprintf(&b, "%sapiVersion: kustomize.toolkit.fluxcd.io/v1\n%skind: Kustomization\n%smetadata: {name: n%d, namespace: %s}\n%sspec:\n", pad, pad, pad, i+1, namespace, pad)
	}
	fmt.Fprintf(&b, "%s  path: ./seed\n%s  sourceRef: {kind: GitRepository, name: flux-system}\n", pad, pad)
	return b.String()
}

// TestEndless: objects that open each other for too long are left out, and no
// others; what was declared through them is not deleted as if Git had given it
// up.
func TestEndless(t *testing.T) {
	w, _ := renderScene(t)
	w.commit(w.ada, overlay)
	w.commit(w.ada, shop)
	w.commit(w.ada, map[string]string{"seed/s.yaml": kustomization("n", "./apps", "  suspend: true\n")})
	w.sync()
	w.commit(w.ada, map[string]string{"clusters/deep.yaml": nested(mostRounds+5, "flux-system")})
	s := w.sync()
	if !strings.Contains(fmt.Sprint(s.Problems), "without end") {
		t.Fatalf("problems: %v", s.Problems)
	}
	if own(s, shopOf("a-prod")) == "" {
		t.Error("a kustomization that nothing opens is left out")
	}
	if e := s.Lookup(shopOf("a")); e == nil || len(e.Current)+len(e.Unsure) == 0 {
		t.Error("what an opened unit declared may be deleted")
	}
	w.commit(w.ada, map[string]string{"clusters/deep.yaml": ""})
	if s = w.sync(); own(s, shopOf("a")) == "" {
		t.Errorf("it does not come back; problems: %v", s.Problems)
	}
}

// TestForeignEndless: a neighbour's objects that open each other for too long.
func TestForeignEndless(t *testing.T) {
	files := map[string]string{"seed/s.yaml": kustomization("n", "./apps", "  suspend: true\n")}
	for p, c := range shop {
		files[p] = c
	}
	_, _, s := twoOrigins(t, files, map[string]string{"deep.yaml": nested(mostRounds+5, "tenant")})
	if !strings.Contains(fmt.Sprint(s.Problems), "without end") {
		t.Fatalf("problems: %v", s.Problems)
	}
	if own(s, shopOf("a")) == "" {
		t.Error("the platform's own unit is left out")
	}
}

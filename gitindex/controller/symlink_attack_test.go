package controller

import (
	"testing"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/gitserver"
)

func (w *scene) link(signer gitserver.Signer, at, target string) string {
	w.t.Helper()
	return w.add(gitserver.CommitOptions{Files: map[string]string{at: target}, Modes: map[string]uint32{at: 0o120000}, Message: "a link", Signer: signer})
}

// TestProvenanceThroughLinks: a unit reads through a symbolic link; the commit
// that changed the file there is the object's.
func TestProvenanceThroughLinks(t *testing.T) {
	w, _ := renderScene(t)
	w.commit(w.ada, map[string]string{"real/a.yaml": cm("a", "1"), "real/kustomization.yaml": "resources: [a.yaml]\n"})
	w.link(w.ada, "prod/base", "../real")
	w.commit(w.ada, map[string]string{"prod/kustomization.yaml": "resources: [base]\nnameSuffix: -prod\n"})
	w.sync()
	second := w.commit(w.ben, map[string]string{"real/a.yaml": cm("a", "2")})
	s := w.sync()
	w.want(s, "a-prod", second)
	w.commit(w.ada, map[string]string{"other/a.yaml": cm("a", "3"), "other/kustomization.yaml": "resources: [a.yaml]\n"})
	moved := w.link(w.ben, "prod/base", "../other")
	w.commit(w.ada, map[string]string{"README.md": "x"})
	s = w.sync()
	w.want(s, "a-prod", moved)
}

// TestLinkThroughLink: ".." after a link leads to what lies above the link's
// target, as it does for git's users and their tools.
func TestLinkThroughLink(t *testing.T) {
	w, _ := renderScene(t)
	w.commit(w.ada, map[string]string{"y": "wrong", "prod/y": "wrong too", "deep/y": "right", "deep/dir/x": "x"})
	w.link(w.ada, "prod/s", "../deep/dir")
	w.link(w.ada, "prod/a", "s/../y")
	w.link(w.ada, "prod/out", "s/../../../y")
	w.sync()
	v := w.tracker.builder(w.tracker.state).tip(false)
	if data, err := v.ReadFile("prod/a"); string(data) != "right" {
		t.Errorf("it leads to %q, %v", data, err)
	}
	if data, err := v.ReadFile("prod/out"); err == nil {
		t.Errorf("out of the tree lies %q", data)
	}
}

// TestProvenanceOfJsonnetThroughLinks is the same for a tool that follows no
// links itself.
func TestProvenanceOfJsonnetThroughLinks(t *testing.T) {
	w, _ := renderScene(t)
	w.settings.Spec.Render = []v1alpha1.Render{{Path: "j/main.jsonnet", Type: v1alpha1.RenderJsonnet, Namespace: "shop"}}
	w.commit(w.ada, map[string]string{"lib/v.libsonnet": "'1'", "j/main.jsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'j'}, data: {v: import 'lib/v.libsonnet'}}"})
	w.link(w.ada, "j/lib", "../lib")
	w.sync()
	second := w.commit(w.ben, map[string]string{"lib/v.libsonnet": "'2'"})
	w.commit(w.ada, map[string]string{"README.md": "x"})
	w.want(w.sync(), "j", second)
	w.commit(w.ada, map[string]string{"new/v.libsonnet": "'3'"})
	moved := w.link(w.ben, "j/lib", "../new")
	w.commit(w.ada, map[string]string{"README.md": "y"})
	w.want(w.sync(), "j", moved)
}

// TestLinkOfSameBytes: a file becomes a link with the same bytes: what a link
// itself is has changed.
func TestLinkOfSameBytes(t *testing.T) {
	w, _ := renderScene(t)
	w.commit(w.ada, map[string]string{"f": "target", "target": "x"})
	w.sync()
	before := (&sources{tree: w.tracker.builder(w.tracker.state).tip(false)}).print(input{linkItself, "f"})
	w.link(w.ada, "f", "target")
	w.sync()
	if after := (&sources{tree: w.tracker.builder(w.tracker.state).tip(false)}).print(input{linkItself, "f"}); after == before {
		t.Errorf("the print is %s still", after)
	}
}

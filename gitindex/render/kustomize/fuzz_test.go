package kustomize

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// clones asks kustomize itself whether it would run git for a reference: with
// no git to be found it says so.
func clones(ref string) bool {
	_, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsInMemory(), ref)
	return err != nil && strings.Contains(err.Error(), "no 'git' program on path")
}

// FuzzReference compares what is taken for a repository with what kustomize
// takes for one. What is taken for a path must be one however it is read.
func FuzzReference(f *testing.F) {
	for _, ref := range []string{"", "a", "../a", "./github.com/a/b", "github.com/a/b", "github.com:a/b", "GITHUB.com/a", "github.com//",
		"git@github.com:a/b.git//c?ref=x", "git::https://x/y/z", "git::a", "GIT::file:///x", "https://x/y/z", "https://x/y", "HTTP://x", "http:x/y/z",
		"ssh://git@x/y/z", "ssh:///x/y", "file://x", "file://", "file://a@b", "me@host:a/b", "me@host/a", "me@host/a/b", "me@h:a", "m_e@host:a/b",
		"me@:a/b", "me@/a/b", "https://x/_git/y/z", "https://x/a//../b", "https://x/a.git/../b", "https://x//", "a?b=github.com/c/d", "github.com/a/b?../..",
		"https://x.git/a/b", "me@host:a.git", "https:///a/b", "github.com/../b", "github.com:/a/b/..", "\x00", "github.com/a/../../.."} {
		f.Add(ref)
	}
	f.Setenv("PATH", "/nowhere")
	f.Fuzz(func(t *testing.T, ref string) {
		if ref == "" {
			return // kustomize has other words for it
		}
		_, _, ok := splitRepository(ref)
		if ok != clones(ref) {
			t.Fatalf("%q: a repository here: %v, to kustomize: %v", ref, ok, clones(ref))
		}
		if plainly(ref) && (ok || fileReach(ref) != local) {
			t.Fatalf("%q is plainly a path, and is not", ref)
		}
		if safe := "./" + ref; clones(safe) || fileReach(safe) != local {
			t.Fatalf("%q is no path", safe)
		}
	})
}

// FuzzBuild: whatever a kustomization says, it is built or refused, twice the
// same way.
func FuzzBuild(f *testing.F) {
	for _, files := range outward {
		f.Add(strings.ReplaceAll(files, "URL", "http://127.0.0.1:1"))
	}
	f.Add("-- kustomization.yaml --\nresources: [a.yaml, a.yaml]\n")
	f.Add("-- kustomization.yaml --\nresources: [.]\n")
	f.Add("-- kustomization.yaml --\nresources: [a.yaml]\nnamePrefix: x-\nreplicas: [{name: a, count: 3}]\n")
	f.Setenv("PATH", "/nowhere")
	f.Fuzz(func(t *testing.T, files string) {
		tree := fstest.MapFS{"a.yaml": {Data: []byte(configMap)}}
		for _, part := range strings.Split(files, "-- ")[1:] {
			name, text, _ := strings.Cut(part, "\n")
			tree[strings.TrimSuffix(name, " --")] = &fstest.MapFile{Data: []byte(text)}
		}
		one, err1 := Build(render.Alone{FS: tree}, "", Options{})
		two, err2 := Build(render.Alone{FS: tree}, "", Options{})
		if (err1 == nil) != (err2 == nil) || err1 == nil && sum(one) != sum(two) {
			t.Fatalf("differs the second time: %v, %v", err1, err2)
		}
		if err1 != nil && (strings.Contains(err1.Error(), "no 'git' program on path") || strings.Contains(err1.Error(), "dial tcp")) {
			t.Fatalf("reached out: %v", err1)
		}
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/controller"
	"github.com/gitward/gitward/gitindex/render"
)

// A directory is rendered as the server renders a repository: a Git checkout by
// its Origin's spec.render, with the Flux and Argo CD objects in it; any other
// directory as a repository of its own.

// checkDirectory judges all that a directory of a checkout declares.
func (l *loaded) checkDirectory(ctx context.Context, dir string, strict bool) ([]checkItem, error) {
	root, rel, err := checkoutOf(dir)
	if err != nil {
		return nil, fmt.Errorf("reading what to check: %w", err)
	}
	settings, err := l.checkoutSettings(root)
	if err != nil {
		return nil, err
	}
	if root == "" {
		root = dir
	}
	tree, err := controller.Checkout(settings, root)
	if err != nil {
		return nil, err
	}
	var items []checkItem
	for _, m := range tree.Manifests {
		if lies(m.Path, rel) || m.Unit != "" && lies(tree.Roots[m.Unit], rel) {
			item := l.checkManifest(ctx, m, strict)
			item.File = filepath.Join(root, filepath.FromSlash(m.Path))
			items = append(items, item)
		}
	}
	for _, p := range tree.Problems {
		if p.Path == "" || lies(p.Path, rel) || strings.HasPrefix(rel, p.Path+"/") {
			items = append(items, checkItem{File: filepath.Join(root, filepath.FromSlash(p.Path)), Line: p.Line, Verdict: verdictUnknown,
				Reason: string(gate.Unreadable), Message: p.String() + "\n  do    mend it"})
		}
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("reading what to check: %s declares nothing%s", dir, whyNothing(settings, rel))
	}
	return items, nil
}

func whyNothing(s controller.Settings, rel string) string {
	if len(s.Spec.Render) > 0 && rel != "." {
		return fmt.Sprintf(" by Origin %s's spec.render", s.Name)
	}
	return ""
}

// lies reports whether a path of the tree is dir or lies below it.
func lies(p, dir string) bool { return dir == "." || p == dir || strings.HasPrefix(p, dir+"/") }

// checkoutOf finds the Git checkout that a directory belongs to, and where in
// it the directory is. Without one the root is empty.
func checkoutOf(dir string) (root, rel string, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", "", err
	}
	for at := abs; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			rel, err := filepath.Rel(at, abs)
			return at, filepath.ToSlash(rel), err
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", "", err
		}
		if at == filepath.Dir(at) {
			return "", ".", nil
		}
	}
}

// checkoutSettings are those of the Origin that a checkout is of.
func (l *loaded) checkoutSettings(root string) (controller.Settings, error) {
	origins := l.configuration.origins
	i := slices.IndexFunc(origins, func(o v1alpha1.Origin) bool { return root != "" && sameDirectory(o.Spec.URL, root) })
	switch {
	case i >= 0:
	case len(origins) == 1:
		i = 0
	case root != "":
		return controller.Settings{}, fmt.Errorf("there are %d Origins: say which one %s is a checkout of: --origin NAME=%s", len(origins), root, root)
	}
	s := controller.Settings{Renderer: renderers()}
	if i >= 0 {
		s.Name, s.Spec, s.Repository = origins[i].Name, origins[i].Spec, l.configuration.known[origins[i].Name]
	}
	if root == "" {
		s.Spec.Render = []v1alpha1.Render{{Namespace: l.namespace}}
	}
	return s, nil
}

func sameDirectory(url, dir string) bool {
	a, err := os.Stat(url)
	if err != nil {
		return false
	}
	b, err := os.Stat(dir)
	return err == nil && os.SameFile(a, b)
}

// checkManifest judges one object as it was rendered.
func (l *loaded) checkManifest(ctx context.Context, m *gitindex.Manifest, strict bool) checkItem {
	_, version := path.Split(m.APIVersion)
	o := render.Object{Group: m.Ref.Group, Version: version, Kind: m.Ref.Kind, Namespace: m.Ref.Namespace, Name: m.Ref.Name,
		JSON: m.Raw, Line: m.Line, End: m.End}
	item := l.checkObject(ctx, &o, strict)
	item.Unit, item.Level = m.Unit, string(m.Level)
	return item
}

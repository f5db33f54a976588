package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitward/gitward/gitindex"
)

// target is an object as people write it on a command line: KIND/NAME, where
// KIND is a kind, a plural or a short name in any case, with its group if need
// be: deploy/web, Deployment.apps/web, certificates.cert-manager.io/web.
type target struct {
	kind, group string // in lower case; group empty means any
	name        string
}

func parseTarget(arg string) (target, error) {
	kind, name, ok := strings.Cut(arg, "/")
	if !ok || kind == "" || name == "" || strings.Contains(name, "/") {
		return target{}, fmt.Errorf("%q is not KIND/NAME, such as deploy/web", arg)
	}
	t := target{name: name}
	t.kind, t.group, _ = strings.Cut(strings.ToLower(kind), ".")
	if version, group, ok := strings.Cut(t.group, "."); ok && isVersion(version) { // deployment.v1.apps
		t.group = group
	}
	return t, nil
}

// isVersion tells "v1beta1" from the first word of a group.
func isVersion(s string) bool {
	return len(s) > 1 && s[0] == 'v' && s[1] >= '0' && s[1] <= '9'
}

// shortNames are those of kubectl for kinds that come with Kubernetes.
var shortNames = map[string]string{
	"cj": "cronjob", "cm": "configmap", "crd": "customresourcedefinition", "crds": "customresourcedefinition",
	"csr": "certificatesigningrequest", "deploy": "deployment", "ds": "daemonset", "ep": "endpoints", "ev": "event",
	"hpa": "horizontalpodautoscaler", "ing": "ingress", "limits": "limitrange", "netpol": "networkpolicy", "no": "node",
	"ns": "namespace", "pc": "priorityclass", "pdb": "poddisruptionbudget", "po": "pod", "pv": "persistentvolume",
	"pvc": "persistentvolumeclaim", "quota": "resourcequota", "rc": "replicationcontroller", "rs": "replicaset",
	"sa": "serviceaccount", "sc": "storageclass", "sts": "statefulset", "svc": "service",
}

// names reports whether the target's word stands for a kind. custom has the
// words that CRDs give their kinds.
func (t target) names(gk schema.GroupKind, custom map[schema.GroupKind][]string) bool {
	if t.group != "" && t.group != strings.ToLower(gk.Group) {
		return false
	}
	kind := strings.ToLower(gk.Kind)
	plural, singular := meta.UnsafeGuessKindToResource(gk.WithVersion("v1"))
	return t.kind == kind || t.kind == plural.Resource || t.kind == singular.Resource || shortNames[t.kind] == kind ||
		slices.Contains(custom[gk], t.kind)
}

// customNames are the words of the CRDs in Git and in the cluster.
func (l *loaded) customNames() map[schema.GroupKind][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[schema.GroupKind][]string{}
	for _, data := range l.crds {
		var crd struct {
			Spec struct {
				Group string
				Names struct {
					Kind, Plural, Singular string
					ShortNames             []string
				}
			}
		}
		if json.Unmarshal([]byte(data), &crd) != nil {
			continue // what cannot be used has been told already
		}
		n := crd.Spec.Names
		gk := schema.GroupKind{Group: crd.Spec.Group, Kind: n.Kind}
		out[gk] = append(append(out[gk], n.Plural, n.Singular), n.ShortNames...)
	}
	return out
}

// errAmbiguous: a word stands for kinds of several groups.
func errAmbiguous(arg string, refs []gitindex.Ref) error {
	var kinds []string
	for _, r := range refs {
		kinds = append(kinds, strings.ToLower(r.GroupKind()))
	}
	slices.Sort(kinds)
	return fmt.Errorf("%s could be any of %s\n  do    name the group too: %s/%s", arg, strings.Join(kinds, ", "), kinds[0], refs[0].Name)
}

// find resolves a target to the object of the index that it means. Where the
// index knows none, near has objects with a similar name.
func (l *loaded) find(t target) (ref gitindex.Ref, near []*gitindex.Manifest, err error) {
	custom := l.customNames()
	found, kinds := map[schema.GroupKind]gitindex.Ref{}, map[schema.GroupKind]bool{}
	for _, s := range l.snapshots() {
		for r := range s.Objects {
			gk := schema.GroupKind{Group: r.Group, Kind: r.Kind}
			if known, told := kinds[gk]; told && !known {
				continue
			}
			kinds[gk] = t.names(gk, custom)
			here := r.Namespace == l.namespace || r.Namespace == ""
			if !kinds[gk] || r.Name != t.name || !here {
				continue
			}
			// A kind of unknown scope is in the index under either address.
			if other, twice := found[gk]; !twice || other.Namespace == "" {
				found[gk] = r
			}
		}
	}
	var refs []gitindex.Ref
	for _, r := range found {
		refs = append(refs, r)
	}
	switch {
	case len(refs) == 1:
		return refs[0], nil, nil
	case len(refs) > 1:
		return gitindex.Ref{}, nil, errAmbiguous(t.kind+"/"+t.name, refs)
	}
	return gitindex.Ref{}, l.near(t, kinds), nil
}

func (l *loaded) near(t target, kinds map[schema.GroupKind]bool) []*gitindex.Manifest {
	var out []*gitindex.Manifest
	for gk, meant := range kinds {
		for _, s := range l.snapshots() {
			if !meant {
				continue
			}
			if m := s.Near(gitindex.Ref{Group: gk.Group, Kind: gk.Kind, Namespace: l.namespace, Name: t.name}); m != nil {
				out = append(out, m)
			}
		}
	}
	slices.SortFunc(out, func(a, b *gitindex.Manifest) int { return strings.Compare(a.Place(), b.Place()) })
	return out
}

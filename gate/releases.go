package gate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitward/gitward/gitindex"
)

// Helm keeps each version of a release in a Secret of its own, with the manifests
// that it applied, and can go back to any of them later. So a release that Git
// declares may have such a Secret, and every object in it must be what Git
// declares for that release, or lately declared: what is forged there would be
// applied one day, by somebody who trusts it.

// releasePart is one object that a release declares.
type releasePart struct {
	ref        gitindex.Ref
	candidates []candidate // that count, or did; of this release alone
}

// declaredRelease is a Helm release as the Gate's Origins declare it.
type declaredRelease struct {
	namespace string // of the release, not of its Secrets
	parts     map[gitindex.Ref]*releasePart
	first     *gitindex.Manifest // of those that count, by name
	current   bool               // Git declares it now
}

// releaseIn finds the release that keeps its Secrets in a namespace; nil if no
// manifest of it counts.
func (t *tracing) releaseIn(namespace, name string) *declaredRelease {
	r := &declaredRelease{parts: map[gitindex.Ref]*releasePart{}}
	var refs []gitindex.Ref
	for i := range t.rule.Origins {
		if s := t.view.Index[t.rule.Origins[i].Origin]; s != nil {
			refs = append(refs, s.Release(namespace, name)...)
		}
	}
	slices.SortFunc(refs, func(a, b gitindex.Ref) int {
		return strings.Compare(a.GroupKind()+a.String(), b.GroupKind()+b.String())
	})
	for _, ref := range slices.Compact(refs) {
		for _, c := range t.candidates(ref) {
			a := c.manifest.Applier
			if c.refused != "" && c.refused != Outdated || a == nil || a.HelmRelease != name || a.ReleaseStorage() != namespace {
				continue
			}
			r.add(ref, c)
		}
	}
	if r.first == nil {
		return nil
	}
	return r
}

func (r *declaredRelease) add(ref gitindex.Ref, c candidate) {
	if r.parts[ref] == nil {
		r.parts[ref] = &releasePart{ref: ref}
	}
	r.parts[ref].candidates = append(r.parts[ref].candidates, c)
	if c.refused != "" {
		return
	}
	r.current = r.current || c.past == nil
	if r.first == nil {
		r.first, r.namespace = c.manifest, c.manifest.Applier.HelmNamespace
	}
}

// part finds what the release declares under an object's address. Helm puts into
// the release's namespace what names none.
func (r *declaredRelease) part(ref gitindex.Ref) *releasePart {
	if ref.Namespace != "" {
		if p := r.parts[ref]; p != nil {
			return p
		}
	}
	if ref.Namespace == "" {
		in := ref
		in.Namespace = r.namespace
		if p := r.parts[in]; p != nil {
			return p
		}
	}
	elsewhere := ref.Namespace != "" && ref.Namespace != r.namespace
	ref.Namespace = ""
	p := r.parts[ref]
	if p != nil && elsewhere && p.candidates[0].manifest.Alternate {
		return nil // its kind may well have namespaces, and this is another one
	}
	return p
}

// released decides about a Secret that Helm keeps a release in. It is not ok for
// any other, and for one whose release Git does not declare.
func (t *tracing) released(s *subject) (Decision, bool) {
	name, _, ok := releaseNamed(s.ref)
	if !ok {
		return Decision{}, false
	}
	declared := t.releaseIn(s.ref.Namespace, name)
	if declared == nil {
		return Decision{}, false
	}
	defer takeTurn()()
	now, err := readRelease(s.ref, s.new)
	if err == nil && s.old != nil {
		// How it went is Helm's to note, whatever Git says of its content by now.
		if was, err := readRelease(s.ref, s.old); err == nil && now.follows(was) {
			return declared.decision(), true
		}
	}
	switch {
	case err != nil:
		return Decision{Refusal: noRelease(s.ref, declared.first, err.Error()), Manifest: declared.first}, true
	case now.namespace != declared.namespace:
		return Decision{Refusal: noRelease(s.ref, declared.first, "it is for another namespace"), Manifest: declared.first}, true
	}
	if kind, why := t.releaseFault(declared, now); why != "" {
		r := noRelease(s.ref, declared.first, why)
		r.Kind = kind
		return Decision{Refusal: r, Manifest: declared.first}, true
	}
	return declared.decision(), true
}

func (r *declaredRelease) decision() Decision {
	return Decision{Reason: Derived, Manifest: r.first, Root: r.first.Ref}
}

// releaseFault says what of a release Git does not declare; why is empty if it
// declares all of it.
func (t *tracing) releaseFault(declared *declaredRelease, r *release) (kind Refused, why string) {
	size := len(r.manifest)
	for i := range r.hooks {
		size += len(r.hooks[i].manifest)
	}
	if size > maxReleaseText {
		return Differs, fmt.Sprintf("its manifests are more than %d MiB", maxReleaseText>>20)
	}
	if kind, why := t.manifestFault(declared, r.manifest, place{name: "manifest"}); why != "" {
		return kind, why
	}
	for i := range r.hooks {
		if kind, why := t.manifestFault(declared, r.hooks[i].manifest, place{name: "hooks", hooks: true, tests: r.hooks[i].isTest()}); why != "" {
			return kind, why
		}
	}
	return "", ""
}

// place is where in a release an object stands.
type place struct {
	name         string
	hooks, tests bool
}

// holds reports whether Helm keeps an object there: hooks and definitions come and
// go otherwise than what the release consists of.
func (p *place) holds(m *gitindex.Manifest) bool { return m.Hook == p.hooks && !m.Bare }

// manifestFault looks for an object that is not Git's. What only helm test makes
// may be missing from Git: it is judged when it is made.
func (t *tracing) manifestFault(declared *declaredRelease, manifest string, where place) (kind Refused, why string) {
	objects, err := objectsOf(manifest)
	if err != nil {
		return Differs, err.Error()
	}
	for i, obj := range objects {
		ref := gitindex.Ref{Group: groupOf(text(at(obj, "apiVersion"))), Kind: text(at(obj, "kind")),
			Namespace: text(dig(obj, "metadata", "namespace")), Name: text(dig(obj, "metadata", "name"))}
		part := declared.part(ref)
		switch {
		case part == nil && where.tests:
		case part == nil:
			return NotInGit, fmt.Sprintf("object %d of its %s is not one that the release declares in Git", i+1, where.name)
		default:
			if kind := t.partFault(part, where, obj); kind != "" {
				return kind, fmt.Sprintf("in its %s %s is not as Git declares it", where.name, gitindex.Clean(part.ref.String(), 80))
			}
		}
	}
	return "", ""
}

// partFault compares an object of a release with what Git declares or lately
// declared; empty if it is that.
func (t *tracing) partFault(p *releasePart, where place, obj map[string]any) Refused {
	kind := Differs
	for _, c := range p.candidates {
		if !where.holds(c.manifest) || !t.isAsDeclared(p.ref, c.manifest, obj) {
			continue
		}
		if c.refused == "" {
			return ""
		}
		kind = c.refused
	}
	return kind
}

// isAsDeclared reports whether an object that nothing has been added to yet is
// the manifest: as it stands, or in the form that the API server gives both.
func (t *tracing) isAsDeclared(ref gitindex.Ref, m *gitindex.Manifest, obj map[string]any) bool {
	raw, err := decodeObject(m.Raw)
	if err != nil {
		return false
	}
	if equal(appliedForm(obj, ref), appliedForm(raw, ref)) {
		return true
	}
	new, err1 := t.served(obj)
	want, err2 := t.served(raw)
	if err1 != nil || err2 != nil || obj["apiVersion"] != raw["apiVersion"] {
		return false
	}
	for _, o := range []map[string]any{new, want} {
		if meta, ok := o["metadata"].(map[string]any); ok { // settled when the object was found
			delete(meta, "namespace")
		}
	}
	version := versionOf(m.APIVersion)
	c := &comparison{tracing: t, manifest: m, want: want, declared: func() any { return want },
		subject: &subject{ref: ref, apiVersion: m.APIVersion, resource: resourceFor(ref), shape: t.view.Schemas.Shape(ref.Group, version, ref.Kind), new: new}}
	c.only = func(v values) bool { return v.new != absent && (applierReason(c, v) || c.holeReason(v)) }
	c.run(want)
	return len(c.violations) == 0
}

// served is the form that the API server gives an object, without stamps.
func (t *tracing) served(obj map[string]any) (map[string]any, error) {
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	canonical, err := t.view.Schemas.Canonical(data, versionOf(text(obj["apiVersion"])))
	if err != nil {
		return nil, err
	}
	out, err := decodeObject(canonical)
	if err == nil {
		strip(out, false)
	}
	return out, err
}

// keepsDeployed refuses the deletion of what Helm knows a declared release by:
// without it the next one begins anew. Older versions come and go.
func (t *tracing) keepsDeployed(ref gitindex.Ref, old map[string]any) *Refusal {
	name, _, ok := releaseNamed(ref)
	if !ok || text(dig(old, "metadata", "labels", "status")) != "deployed" {
		return nil
	}
	declared := t.releaseIn(ref.Namespace, name)
	if declared == nil || !declared.current {
		return nil
	}
	return &Refusal{Kind: StillInGit,
		Head:  fmt.Sprintf("%s cannot be deleted here: it is the version in use of a Helm release that is still in Git", gitindex.Clean(ref.String(), 90)),
		Facts: append([]string{"Git   " + declared.first.Place()}, madeBy(declared.first)...),
		Do:    "remove the release in Git; its applier will uninstall it"}
}

func noRelease(ref gitindex.Ref, m *gitindex.Manifest, why string) *Refusal {
	return &Refusal{Kind: Differs,
		Head:  fmt.Sprintf("%s is not a release that Git declares: %s", gitindex.Clean(ref.String(), 80), why),
		Facts: append([]string{"Git   " + m.Place()}, madeBy(m)...),
		Do:    "deploy the chart and values that are in Git; to roll back, revert the commit"}
}

// resourceFor is the resource of a kind, with its group: known, or as Kubernetes
// names them.
func resourceFor(ref gitindex.Ref) string {
	if resource, ok := resourceOf[ref.GroupKind()]; ok {
		return resource
	}
	plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: ref.Group, Kind: ref.Kind})
	return plural.GroupResource().String()
}

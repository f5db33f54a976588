package gate

import (
	"slices"

	"github.com/gitward/gitward/gitindex"
)

// kubectl auth reconcile, which Argo CD runs for roles and bindings before it
// applies them, only ever adds: it appends to the live rules those of Git that
// they do not cover (k8s.io/kubernetes, pkg/registry/rbac/reconciliation). What
// comes of it is neither the old state nor Git's. But each right in it was there
// before, or is Git's: so it adds nothing to what is spoilt, and the difference
// that stays is drift.

const rbacGroup = "rbac.authorization.k8s.io"

// grants finds that a request gives a subject a role that Git does not: the live
// binding's is another than Git's, and can only be made anew. That each half was
// there before, or is Git's, does not make the whole Git's.
func (c *comparison) grants() {
	s := c.subject
	if s.old == nil || !isBinding(s.ref) || equal(at(s.new, "roleRef"), at(c.want, "roleRef")) {
		return
	}
	for _, subject := range asList(at(s.new, "subjects")) {
		if !names(asList(at(s.old, "subjects")), subject) {
			c.violations = append(c.violations, Difference{Path: "roleRef", Old: at(s.old, "roleRef"), New: at(s.new, "roleRef"), Want: at(c.want, "roleRef")})
			return
		}
	}
}

func isBinding(ref gitindex.Ref) bool {
	return ref.Group == rbacGroup && (ref.Kind == "RoleBinding" || ref.Kind == "ClusterRoleBinding")
}

// adds reports a request that appends Git's own to a list of rules or subjects.
func (c *comparison) adds(v values) bool {
	if c.manifest == nil || c.only != nil || c.subject.old == nil || c.subject.ref.Group != rbacGroup || len(c.path) != 1 {
		return false
	}
	old, new, git := asList(v.old), asList(v.new), asList(v.want)
	if len(new) <= len(old) || !slices.EqualFunc(new[:len(old)], old, equal) {
		return false
	}
	gives := covered
	switch c.path[0].name {
	case "rules":
	case "subjects":
		gives = names
	default:
		return false
	}
	for i := len(old); i < len(new); i++ { // each Git's, and none there before
		if !gives(git, new[i]) || gives(new[:i], new[i]) {
			return false
		}
	}
	return true
}

func names(subjects []any, subject any) bool {
	return slices.ContainsFunc(subjects, func(s any) bool { return equal(s, subject) })
}

// maxRights is how many single rights of one rule are looked at.
const maxRights = 4096

// covered reports whether rules give every single right that one more would.
func covered(rules []any, rule any) bool {
	r, _ := rule.(map[string]any)
	for k := range r {
		if !slices.Contains([]string{"verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"}, k) {
			return false
		}
	}
	verbs, groups, resources, urls := asList(r["verbs"]), asList(r["apiGroups"]), asList(r["resources"]), asList(r["nonResourceURLs"])
	names := asList(r["resourceNames"])
	if len(names) == 0 {
		names = []any{absent}
	}
	if len(verbs)*(len(groups)*len(resources)*len(names)+len(urls)) > maxRights || len(verbs) == 0 || len(groups)*len(resources)+len(urls) == 0 {
		return false
	}
	for _, verb := range verbs {
		for _, url := range urls {
			if !gives(rules, right{verb: verb, url: url}) {
				return false
			}
		}
		for _, group := range groups {
			for _, resource := range resources {
				for _, name := range names {
					if !gives(rules, right{verb: verb, group: group, resource: resource, name: name, url: absent}) {
						return false
					}
				}
			}
		}
	}
	return true
}

// right is a single one; url is absent for one on resources, name for one on all
// of them.
type right struct{ verb, group, resource, name, url any }

func gives(rules []any, want right) bool {
	return slices.ContainsFunc(rules, func(r any) bool {
		has := func(field string, v any) bool {
			list := asList(at(r, field))
			return slices.Contains(list, v) || slices.Contains(list, any("*"))
		}
		if !has("verbs", want.verb) {
			return false
		}
		if want.url != absent {
			return slices.Contains(asList(at(r, "nonResourceURLs")), want.url)
		}
		names := asList(at(r, "resourceNames"))
		return has("apiGroups", want.group) && has("resources", want.resource) && (len(names) == 0 || slices.Contains(names, want.name))
	})
}

package lint

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Rule containers-only: a pod runs what stands in three lists, and a policy that
// looks at one of them can be got round by the others. Ephemeral containers are
// in Pods alone, and have neither probes nor ports nor resources; init containers
// have resources.

// never are fields that only containers have, and init containers but for
// sidecars have not.
var never = []string{"livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "ports", "containerPort", "hostPort"}

func (m *module) containers() {
	at, inPod := m.containersRead()
	if at == nil {
		return
	}
	said := m.said()
	if slices.ContainsFunc(never, func(field string) bool { return said[field] }) && !said["image"] && !said["securityContext"] {
		return
	}
	line := at.Location.Row
	switch {
	case !said["initContainers"]:
		m.found(Finding{Rule: containersOnly, Line: line, Message: "containers are looked at, initContainers are not" + also(inPod && !said["ephemeralContainers"]),
			Fix: "go through every list: some list in [\"containers\", \"initContainers\", \"ephemeralContainers\"]"})
	case inPod && !said["ephemeralContainers"] && (said["image"] || said["securityContext"]):
		m.found(Finding{Rule: containersOnly, Line: line, Message: "containers and initContainers are looked at, ephemeralContainers are not: kubectl debug adds them to a running Pod",
			Fix: "go through ephemeralContainers too"})
	}
}

func also(ephemeral bool) string {
	if ephemeral {
		return ", nor are ephemeralContainers"
	}
	return ""
}

// containersRead finds the first place that goes through a spec's containers, and
// whether any is a Pod's own, which no template is before.
func (m *module) containersRead() (first *ast.Term, inPod bool) {
	for _, r := range m.Rules {
		if isTest(r) {
			continue
		}
		ast.WalkTerms(r, func(t *ast.Term) bool {
			ref, ok := t.Value.(ast.Ref)
			if !ok || t.Location == nil {
				return false
			}
			for i := 1; i < len(ref); i++ {
				if ref[i].Value.Compare(ast.String("containers")) != 0 || !isName(ref[i-1], "spec") {
					continue
				}
				if first == nil {
					first = t
				}
				if i < 2 || !isName(ref[i-2], "template") && !isName(ref[i-2], "jobTemplate") {
					inPod = true
				}
			}
			return false
		})
	}
	return first, inPod
}

func isName(t *ast.Term, name string) bool {
	switch v := t.Value.(type) {
	case ast.String:
		return string(v) == name
	case ast.Var:
		return string(v) == name
	}
	return false
}

// said are all texts of the unit that are no tests: names of fields, and those
// that are written out.
func (m *module) said() map[string]bool {
	out := map[string]bool{}
	look := func(of *ast.Module) {
		for _, r := range of.Rules {
			if isTest(r) {
				continue
			}
			ast.WalkTerms(r, func(t *ast.Term) bool {
				switch v := t.Value.(type) {
				case ast.String:
					out[string(v)] = true
				case ast.Var:
					if strings.Contains(strings.ToLower(string(v)), "probe") {
						out["livenessProbe"] = true
					}
				}
				return false
			})
		}
	}
	look(m.Module)
	for _, of := range []map[string]*ast.Module{m.unit.Modules, m.unit.Leans} {
		for _, other := range of {
			if other != m.Module && m.leansOn(other) {
				look(other)
			}
		}
	}
	return out
}

// leansOn reports whether a module imports another, or is in the same package.
func (m *module) leansOn(other *ast.Module) bool {
	if m.Package.Path.Equal(other.Package.Path) {
		return true
	}
	for _, i := range m.Imports {
		if ref, ok := i.Path.Value.(ast.Ref); ok && (ref.HasPrefix(other.Package.Path) || other.Package.Path.HasPrefix(ref)) {
			return true
		}
	}
	return false
}

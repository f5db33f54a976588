package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	"github.com/gitward/gitward/gate"
)

// operations are what the API server makes of the verbs of a request.
var operations = map[string]gate.Operation{"create": gate.Create, "update": gate.Update, "patch": gate.Update,
	"delete": gate.Delete, "deletecollection": gate.Delete}

// connects are the subresources that are connected to, whatever the verb.
var connects = []string{"exec", "attach", "portforward", "proxy"}

// TestEveryVerb goes through all that a real API server serves: no kind of
// request that admission sees is without a rule.
func TestEveryVerb(t *testing.T) {
	l := newLab(t, attackPlane(t))
	_, lists, err := discovery.NewDiscoveryClient(l.kube.RESTClient()).ServerGroupsAndResources()
	l.check(err)
	asked, rules, none := 0, map[string]bool{}, []string{}
	for _, list := range lists {
		group, _, found := strings.Cut(list.GroupVersion, "/")
		if !found {
			group = ""
		}
		for i := range list.APIResources {
			for _, op := range operationsOf(&list.APIResources[i]) {
				asked++
				req := &gate.Request{Operation: op, ResourceGroup: group}
				req.Resource, req.SubResource, _ = strings.Cut(list.APIResources[i].Name, "/")
				if rule := gate.RuleFor(req); rule != nil {
					rules[fmt.Sprint(rule.Operation, " ", rule.Resource)] = true
				} else {
					none = append(none, fmt.Sprint(op, " ", list.APIResources[i].Name, ".", group))
				}
			}
		}
	}
	t.Logf("%d kinds of requests of %d groups and versions; %d of %d rules are for them; without a rule: %q", asked, len(lists), len(rules), len(gate.Verbs()), none)
	if len(none) > 0 || asked < 200 {
		t.Errorf("%d kinds of requests, %d without a rule", asked, len(none))
	}
	for _, v := range gate.Verbs() {
		if name := fmt.Sprint(v.Operation, " ", v.Resource); !rules[name] {
			t.Errorf("nothing that is served needs the rule for %s", name)
		}
	}
}

func operationsOf(r *metav1.APIResource) []gate.Operation {
	var out []gate.Operation
	_, sub, _ := strings.Cut(r.Name, "/")
	if slices.Contains(connects, sub) {
		return []gate.Operation{gate.Connect}
	}
	for _, verb := range r.Verbs {
		if op, ok := operations[verb]; ok && !slices.Contains(out, op) {
			out = append(out, op)
		}
	}
	return out
}

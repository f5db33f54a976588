package gate

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/controlplane"
)

func TestMain(m *testing.M) { os.Exit(controlplane.Run(m)) }

// withoutRule are rights of Kubernetes' controllers that need no rule in a
// table, by the resource or a part of it, and why.
var withoutRule = map[string]string{
	"*.*":                  "on everything: namespaces that end, garbage, new storage versions of the same content",
	"events":               "for every part of Kubernetes",
	"leases":               "for every part of Kubernetes",
	"/status":              "the verb's rule",
	"/scale":               "the verb's rule",
	"/approval":            "the verb's rule",
	"/token":               "the verb's rule",
	"/eviction":            "the verb's rule",
	"/finalize":            "the verb's rule", // and /finalizers, a permission without requests
	"/binding":             "the verb's rule",
	"/restricted":          "a permission without requests",
	"/approve":             "a permission without requests",
	"/attest":              "a permission without requests",
	"tokenreviews":         "asks",
	"subjectaccessreviews": "asks",
	".extensions":          "a group that is served no more",
}

// unused are rights that no controller makes use of any more, or only for what
// is not for production.
var unused = map[string]string{
	"cloud-provider create configmaps":                     "of the time when clouds were built in",
	"cronjob-controller update cronjobs.batch":             "it writes the status alone",
	"deployment-controller update pods":                    "it labelled Pods once",
	"replicaset-controller update replicasets.apps":        "it writes the status alone",
	"replication-controller update replicationcontrollers": "it writes the status alone",
	"persistent-volume-binder create persistentvolumes":    "hostPath volumes made on demand, for tests",
	"persistent-volume-binder create pods":                 "recycled volumes, deprecated",
}

// TestBootstrapRoles holds the controllers' rules against the roles that a real
// API server gives them: no rule lets a controller do what it may not, and none
// of its rights is without a rule or a reason.
func TestBootstrapRoles(t *testing.T) {
	plane := controlplane.ForTest(t, controlplane.Options{})
	kube, err := kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin))
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := kube.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	resource := map[string]string{} // by kind
	for _, list := range lists {
		group, _, found := strings.Cut(list.GroupVersion, "/")
		if !found {
			group = ""
		}
		for _, r := range list.APIResources {
			if !strings.Contains(r.Name, "/") {
				resource[gitindex.Ref{Group: group, Kind: r.Kind}.GroupKind()] = qualified(r.Name, group)
			}
		}
	}
	roles, err := kube.RbacV1().ClusterRoles().List(context.Background(), metav1.ListOptions{LabelSelector: "kubernetes.io/bootstrapping=rbac-defaults"})
	if err != nil {
		t.Fatal(err)
	}
	granted := map[string]map[string]bool{} // by controller, verb and resource
	grant := func(role string, rules []rbacv1.PolicyRule) {
		name, ok := strings.CutPrefix(role, "system:controller:")
		if !ok {
			return
		}
		if granted[name] == nil {
			granted[name] = map[string]bool{}
		}
		for _, rule := range rules {
			for _, g := range rule.APIGroups {
				for _, r := range rule.Resources {
					for _, v := range rule.Verbs {
						granted[name][v+" "+qualified(r, g)] = true
					}
				}
			}
		}
	}
	for i := range roles.Items {
		grant(roles.Items[i].Name, roles.Items[i].Rules)
	}
	inNamespaces, err := kube.RbacV1().Roles("").List(context.Background(), metav1.ListOptions{LabelSelector: "kubernetes.io/bootstrapping=rbac-defaults"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range inNamespaces.Items {
		grant(inNamespaces.Items[i].Name, inNamespaces.Items[i].Rules)
	}

	used := map[string]bool{}
	check := func(users []string, kind string, verbs ...string) {
		for _, u := range users {
			name, ok := strings.CutPrefix(u, accountPrefix+"kube-system:")
			if !ok || name == "cloud-controller-manager" {
				continue
			}
			rights, known := granted[name]
			may := false
			for _, v := range verbs {
				used[name+" "+v+" "+resource[kind]] = true
				may = may || rights[v+" "+resource[kind]] || rights[v+" "+statusOf(resource[kind])] || rights[v+" *.*"] || rights["* *.*"] || kind == "*"
			}
			if !known || !may {
				t.Errorf("a rule for %s and %s, but Kubernetes lets it not %v", name, kind, verbs)
			}
		}
	}
	rules := 0
	for kind, list := range controllerRules {
		for _, r := range list {
			rules++
			check(r.by, kind, "update", "patch")
		}
	}
	for _, m := range append(slices.Clone(makers), claimMaker, endpointsMaker) {
		rules++
		check(m.by, m.child, "create")
	}
	for kind, list := range platformRules {
		for _, r := range list {
			rules++
			check(r.by, kind, "create", "update", "delete")
		}
	}
	for kind, d := range deleters {
		rules++
		check(d.by, kind, "delete")
	}

	rights, without := 0, []string{}
	for _, name := range sortedKeys(granted) {
		for _, right := range sortedKeys(granted[name]) {
			verb, r, _ := strings.Cut(right, " ")
			if !slices.Contains([]string{"create", "update", "patch"}, verb) {
				continue // reading is not seen; deletions go by what Git says
			}
			rights++
			known := used[name+" "+right]
			for part := range withoutRule {
				known = known || strings.Contains(r, part)
			}
			known = known || unused[name+" "+right] != ""
			if !known {
				without = append(without, name+" "+right)
			}
		}
	}
	t.Logf("%d rules; the roles of %d controllers have %d rights to write, without a rule or a reason: %d", rules, len(granted), rights, len(without))
	if len(without) > 0 || rights < 200 {
		t.Errorf("without a rule: %q", without)
	}
}

// statusOf is the subresource by which a controller writes metadata too.
func statusOf(resource string) string {
	name, group, _ := strings.Cut(resource, ".")
	return qualified(name+"/status", group)
}

func qualified(resource, group string) string {
	if group == "" {
		return resource
	}
	return resource + "." + group
}

// TestBootstrapObjects: all roles and bindings that a real API server makes for
// itself may be made by it again, and by nobody else.
func TestBootstrapObjects(t *testing.T) {
	plane := controlplane.ForTest(t, controlplane.Options{})
	client, err := dynamic.NewForConfig(plane.RESTConfig(controlplane.Admin))
	if err != nil {
		t.Fatal(err)
	}
	genuine := User{Name: apiServer, UID: "6f7dc07b-0d6c-4a52-a7c1-0f8e1c2a3b4d", Groups: []string{"system:masters", "system:authenticated"}}
	nameOnly := User{Name: apiServer, Groups: genuine.Groups}
	seen := 0
	for resource, kind := range map[string]string{"clusterroles": "ClusterRole", "clusterrolebindings": "ClusterRoleBinding", "roles": "Role", "rolebindings": "RoleBinding"} {
		list, err := client.Resource(rbacv1.SchemeGroupVersion.WithResource(resource)).List(context.Background(),
			metav1.ListOptions{LabelSelector: "kubernetes.io/bootstrapping=rbac-defaults"})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range list.Items {
			seen++
			raw, err := item.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			obj, err := decodeObject(raw)
			if err != nil {
				t.Fatal(err)
			}
			if kind == "ClusterRole" && slices.Contains([]string{"admin", "edit", "view"}, item.GetName()) {
				delete(obj, "rules") // as it is made; the aggregation controller fills it
			}
			ref := gitindex.Ref{Group: "rbac.authorization.k8s.io", Kind: kind, Namespace: item.GetNamespace(), Name: item.GetName()}
			req := &Request{Operation: Create, Group: ref.Group, Version: "v1", Kind: kind, User: genuine}
			if !isPlatform(req, ref, objects{new: obj}) {
				t.Errorf("%v may not be made by the API server", ref)
			}
			if req.User = nameOnly; isPlatform(req, ref, objects{new: obj}) {
				t.Errorf("%v may be made by whoever takes the API server's name", ref)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d roles and bindings were seen", seen)
	}
	t.Logf("%d roles and bindings", seen)
}

package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

var gateResource = schema.GroupVersionResource{Group: "gitward.dev", Version: "v1alpha1", Resource: "gates"}

// call is one request to the API server, as data: so that the same request is
// made by everybody, in the naive namespace and in the gated one. In path and
// body, $NS stands for the namespace, $UID(path) for the uid of what is at a
// path, and $CHILD(path) for the name of something in a collection that a
// controller made for the application web.
type call struct {
	verb, path, form, body string
}

func post(path, body string) call  { return call{"POST", path, "application/yaml", body} }
func put(path, body string) call   { return call{"PUT", path, "application/yaml", body} }
func remove(path string) call      { return call{verb: "DELETE", path: path} }
func merge(path, body string) call { return call{"PATCH", path, string(types.MergePatchType), body} }
func strategic(path, body string) call {
	return call{"PATCH", path, string(types.StrategicMergePatchType), body}
}

// apply is server-side apply, by force.
func apply(path, body string) call {
	return call{"PATCH", with(path, "fieldManager=kubectl&force=true"), string(types.ApplyYAMLPatchType), body}
}

// create posts one document where it belongs.
func create(body string) call { return post(collection(body), body) }

// with adds a query to a path.
func with(path, query string) string {
	if strings.Contains(path, "?") {
		return path + "&" + query
	}
	return path + "?" + query
}

func (c call) dry() call {
	c.path = with(c.path, "dryRun=All")
	return c
}

// do makes the request. A client never tries again by itself: the first answer
// is the one that is judged.
func (c call) do(client *rest.RESTClient, ns string) error {
	path, body := c.fill(client, c.path, ns), c.fill(client, c.body, ns)
	r := client.Verb(c.verb).RequestURI(path).MaxRetries(0)
	if c.verb != "DELETE" {
		r = r.SetHeader("Content-Type", c.form).Body([]byte(body))
	}
	return r.Do(context.Background()).Error()
}

var childForm = regexp.MustCompile(`\$CHILD\(([^)]*)\)`)

// childIn finds the name of a derived object, and waits for one: a controller
// makes it anew where an attack has taken it away.
func childIn(collection string) string {
	for range 100 {
		list := &unstructured.UnstructuredList{}
		data, err := shared.lab.client(whoIs("system:masters")).Get().AbsPath(collection).Param("labelSelector", "app=web").Do(context.Background()).Raw()
		if err == nil && list.UnmarshalJSON(data) == nil {
			for _, item := range list.Items {
				if len(item.GetOwnerReferences()) > 0 && item.GetDeletionTimestamp() == nil {
					return item.GetName()
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "there-is-none"
}

var uidForm = regexp.MustCompile(`\$UID\(([^)]*)\)`)

func (c call) fill(client *rest.RESTClient, text, ns string) string {
	if ns != "" {
		text = strings.ReplaceAll(text, "$NS", ns)
	}
	text = childForm.ReplaceAllStringFunc(text, func(match string) string { return childIn(childForm.FindStringSubmatch(match)[1]) })
	return uidForm.ReplaceAllStringFunc(text, func(match string) string {
		path := uidForm.FindStringSubmatch(match)[1]
		return string(objectAt(path).GetUID())
	})
}

// objectAt reads what is at a path, as the administrator. What is not there has
// no fields: a test that panics would leave its processes behind.
func objectAt(path string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	data, err := shared.lab.client(whoIs("system:masters")).Get().AbsPath(path).Do(context.Background()).Raw()
	if err == nil {
		err = u.UnmarshalJSON(data)
	}
	if err != nil {
		u.Object = map[string]any{"missing": fmt.Sprintf("reading %s: %v", path, err)}
	}
	return u
}

// client speaks as somebody.
func (l *lab) client(p person) *rest.RESTClient {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[p.name] == nil {
		l.clients[p.name] = clientFor(l.config(p))
	}
	return l.clients[p.name]
}

func clientFor(config *rest.Config) *rest.RESTClient {
	config = dynamic.ConfigFor(config)
	config.GroupVersion, config.APIPath = &schema.GroupVersion{}, "/"
	return must(rest.UnversionedRESTClientFor(config))
}

// plurals of the kinds that are not just longer by an s.
var plurals = map[string]string{"NetworkPolicy": "networkpolicies", "Ingress": "ingresses", "Endpoints": "endpoints",
	"PriorityClass": "priorityclasses", "StorageClass": "storageclasses", "IngressClass": "ingressclasses",
	"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "MutatingAdmissionPolicy": "mutatingadmissionpolicies"}

var clusterScoped = map[string]bool{"Namespace": true, "Node": true, "ClusterRole": true, "ClusterRoleBinding": true, "CustomResourceDefinition": true,
	"Origin": true, "Gate": true, "PriorityClass": true, "StorageClass": true, "IngressClass": true, "ValidatingWebhookConfiguration": true,
	"MutatingWebhookConfiguration": true, "ValidatingAdmissionPolicy": true, "ValidatingAdmissionPolicyBinding": true,
	"MutatingAdmissionPolicy": true, "MutatingAdmissionPolicyBinding": true, "APIService": true, "PersistentVolume": true}

// collection is the path of the collection that a document belongs to.
func collection(text string) string {
	u := objectOf(text)
	plural := plurals[u.GetKind()]
	if plural == "" {
		plural = strings.ToLower(u.GetKind()) + "s"
	}
	base := "/apis/" + u.GetAPIVersion()
	if !strings.Contains(u.GetAPIVersion(), "/") {
		base = "/api/" + u.GetAPIVersion()
	}
	if clusterScoped[u.GetKind()] {
		return base + "/" + plural
	}
	ns := u.GetNamespace()
	if ns == "" {
		ns = "$NS"
	}
	return base + "/namespaces/" + ns + "/" + plural
}

// itself is the path of a document's own object.
func itself(text string) string { return collection(text) + "/" + objectOf(text).GetName() }

// objectOf reads one YAML document.
func objectOf(text string) *unstructured.Unstructured {
	data := must(yaml.YAMLToJSON([]byte(text)))
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		panic(fmt.Errorf("%w in:\n%s", err, text))
	}
	return u
}

func asJSON(v any) string { return string(must(json.Marshal(v))) }

// deleted are the options of a deletion that leaves nothing behind.
var deleted = metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}

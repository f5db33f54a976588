package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/render"
)

// objectName names an object in results for programs.
type objectName struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func nameOfRef(r gitindex.Ref) objectName {
	return objectName{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// requestTo is an admission request for an object, as the API server would
// send it.
func requestTo(op gate.Operation, gvk schema.GroupVersionKind, ref gitindex.Ref) *gate.Request {
	resource, _ := meta.UnsafeGuessKindToResource(gvk)
	req := &gate.Request{UID: ref.String(), Operation: op, Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind,
		Resource: resource.Resource, ResourceGroup: resource.Group, Namespace: ref.Namespace, Name: ref.Name, DryRun: true}
	if gvk.Group == "" && gvk.Kind == "Namespace" {
		req.Namespace = ref.Name
	}
	return req
}

// creation is the request that `kubectl create` of a file's object would lead
// to: in its canonical form, in a namespace.
func (l *loaded) creation(o *render.Object) (*gate.Request, error) {
	schemas := l.view.Load().Schemas
	ref := gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
	switch scope := schemas.Scope(o.Group, o.Kind); {
	case scope == canonical.Cluster:
		ref.Namespace = ""
	case ref.Namespace == "":
		ref.Namespace = l.namespace
	}
	object, err := inNamespace(o.JSON, ref.Namespace)
	if err != nil {
		return nil, err
	}
	req := requestTo(gate.Create, schema.GroupVersionKind{Group: o.Group, Version: o.Version, Kind: o.Kind}, ref)
	if schemas.Known(o.Group, o.Version, o.Kind) {
		if object, err = schemas.Canonical(object, o.Version); err != nil {
			return req, err
		}
	}
	req.Object = object
	return req, nil
}

// inNamespace is the object with its namespace set, or taken away.
func inNamespace(object []byte, namespace string) ([]byte, error) {
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(object, &tree); err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	metadata, ok := tree["metadata"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("reading the object: it has no metadata")
	}
	delete(metadata, "namespace")
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return json.Marshal(tree)
}

// compare holds a live object against Git by the engine that admission uses: a
// request that changes nothing shows what is not as Git says. Gates do not
// matter here, and superseded manifests do not count.
func (l *loaded) compare(ctx context.Context, live *unstructured.Unstructured) (gate.Decision, error) {
	view := l.view.Load()
	rule := gate.Rule{Name: "compare", ClusterScoped: true}
	for _, s := range l.snapshots() {
		if s.Accepted != nil {
			rule.Origins = append(rule.Origins, gate.Source{Origin: s.Origin})
		}
	}
	all := &gate.View{Index: view.Index, Schemas: view.Schemas, Rules: []gate.Rule{rule}}
	engine := &gate.Gate{View: func() *gate.View { return all }, Now: time.Now}

	object := live.DeepCopy()
	dropStamps(object)
	data, err := json.Marshal(object.Object)
	if err != nil {
		return gate.Decision{}, fmt.Errorf("reading the live object: %w", err)
	}
	gvk := live.GroupVersionKind()
	req := requestTo(gate.Update, gvk, gitindex.Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: live.GetNamespace(), Name: live.GetName()})
	req.Object, req.OldObject = data, data
	return engine.Decide(ctx, req), nil
}

// dropStamps takes the stamps off: they are no content, and those of an object
// that was stamped long ago are no difference.
func dropStamps(o *unstructured.Unstructured) {
	annotations := o.GetAnnotations()
	for k := range annotations {
		if len(k) > len(gate.StampPrefix) && k[:len(gate.StampPrefix)] == gate.StampPrefix {
			delete(annotations, k)
		}
	}
	o.SetAnnotations(annotations)
}

// differenceItem is one place at which an object is not what Git says. Values
// are as refusals show them: never a Secret's.
type differenceItem struct {
	Path   string `json:"path"`
	Git    string `json:"git"`
	Object string `json:"object"`
}

func differencesOf(ref gitindex.Ref, differences []gate.Difference) []differenceItem {
	var out []differenceItem
	for _, d := range differences {
		git, object := d.Shown(ref)
		out = append(out, differenceItem{Path: gitindex.Clean(d.Path, 200), Git: git, Object: object})
	}
	slices.SortFunc(out, func(a, b differenceItem) int { return strings.Compare(a.Path, b.Path) })
	return out
}

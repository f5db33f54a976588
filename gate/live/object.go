package live

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// objectOf keeps of an object what a decision needs.
func (k *kind) objectOf(obj any) (*gate.LiveObject, error) {
	meta, ok := obj.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("the watch of %s brought a %T", k, obj)
	}
	o := &gate.LiveObject{
		Ref:        gitindex.Ref{Group: k.gvk.Group, Kind: k.gvk.Kind, Namespace: meta.GetNamespace(), Name: meta.GetName()},
		APIVersion: k.gvk.GroupVersion().String(),
		UID:        string(meta.GetUID()),
		Deleting:   meta.GetDeletionTimestamp() != nil,
		Stamps:     stamps(meta.GetAnnotations()),
	}
	if k.gvk.Group == "" && k.gvk.Kind == "Namespace" {
		o.Labels = meta.GetLabels()
	}
	if owner := metav1.GetControllerOf(meta); owner != nil {
		o.Owner = gate.Owner{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: string(owner.UID)}
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		var err error
		if o.Template, err = k.template(u); err != nil {
			return nil, fmt.Errorf("keeping the template of %v: %w", o.Ref, err)
		}
	}
	return o, nil
}

func stamps(annotations map[string]string) map[string]string {
	var out map[string]string
	for k, v := range annotations {
		if strings.HasPrefix(k, gate.StampPrefix) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// template is what the object's controller copies from.
func (k *kind) template(u *unstructured.Unstructured) ([]byte, error) {
	kept := map[string]any{}
	for name, path := range k.templates {
		v, found, err := unstructured.NestedFieldNoCopy(u.Object, path...)
		if err != nil {
			return nil, err
		}
		if found {
			kept[name] = v
		}
	}
	return json.Marshal(kept)
}

package e2e

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/dynamic"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/retry"
)

// method is one way in which people and tools bring a manifest to a cluster.
type method struct {
	name  string
	apply func(ctx context.Context, client dynamic.ResourceInterface, manifest *unstructured.Unstructured) error
}

var methods = []method{
	{"server-side apply", serverSideApply},
	{"client-side apply", clientSideApply},
	{"create", createOnce},
	{"replace", replace},
}

// serverSideApply is `kubectl apply --server-side --force-conflicts`.
func serverSideApply(ctx context.Context, client dynamic.ResourceInterface, manifest *unstructured.Unstructured) error {
	_, err := client.Apply(ctx, manifest.GetName(), manifest, metav1.ApplyOptions{FieldManager: "kubectl", Force: true})
	return err
}

// clientSideApply sends what `kubectl apply` sends: the object with its own text
// in an annotation, or the three-way difference between that text, the manifest
// and the live object.
func clientSideApply(ctx context.Context, client dynamic.ResourceInterface, manifest *unstructured.Unstructured) error {
	modified, err := withLastApplied(manifest)
	if err != nil {
		return err
	}
	live, err := client.Get(ctx, manifest.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, modified, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"})
		return err
	}
	if err != nil {
		return err
	}
	patch, kind, err := threeWay(live, modified)
	if err != nil || string(patch) == "{}" {
		return err
	}
	_, err = client.Patch(ctx, manifest.GetName(), kind, patch, metav1.PatchOptions{FieldManager: "kubectl-client-side-apply"})
	return err
}

func withLastApplied(manifest *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	u := manifest.DeepCopy()
	annotations := u.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	u.SetAnnotations(annotations)
	text, err := runtime.Encode(unstructured.UnstructuredJSONScheme, u)
	if err != nil {
		return nil, err
	}
	annotations[corev1.LastAppliedConfigAnnotation] = string(text)
	u.SetAnnotations(annotations)
	return u, nil
}

func threeWay(live, modified *unstructured.Unstructured) ([]byte, types.PatchType, error) {
	original := []byte(live.GetAnnotations()[corev1.LastAppliedConfigAnnotation])
	now, err := json.Marshal(modified)
	if err != nil {
		return nil, "", err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, "", err
	}
	typed, err := clientscheme.Scheme.New(modified.GroupVersionKind())
	if err != nil {
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, now, current)
		return patch, types.MergePatchType, err
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return nil, "", err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, now, current, schema, true)
	return patch, types.StrategicMergePatchType, err
}

// createOnce is `kubectl create`; a second one is refused by Kubernetes.
func createOnce(ctx context.Context, client dynamic.ResourceInterface, manifest *unstructured.Unstructured) error {
	_, err := client.Create(ctx, manifest, metav1.CreateOptions{FieldManager: "kubectl-create"})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// replace is `kubectl replace` of an object that is created first.
func replace(ctx context.Context, client dynamic.ResourceInterface, manifest *unstructured.Unstructured) error {
	if err := createOnce(ctx, client, manifest); err != nil {
		return fmt.Errorf("creating what is to be replaced: %w", err)
	}
	// The API server writes the status of some kinds at any time.
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live, err := client.Get(ctx, manifest.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		u := manifest.DeepCopy()
		u.SetResourceVersion(live.GetResourceVersion())
		_, err = client.Update(ctx, u, metav1.UpdateOptions{FieldManager: "kubectl-replace"})
		return err
	})
}

// remove deletes an object, whatever holds it back. There are no controllers
// to let go of finalizers, and no kubelet to let go of Pods.
func (l *lab) remove(ctx context.Context, d *declaration) error {
	client, err := l.resource(d.gvk, d.ref.Namespace)
	if err != nil {
		return nil // a kind that is not there has no objects
	}
	err = client.Delete(ctx, d.ref.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64), PropagationPolicy: new(metav1.DeletePropagationBackground)})
	if err != nil {
		return ignoreGone(err)
	}
	switch d.gvk.Kind {
	case "Namespace":
		_, err = l.kube.CoreV1().Namespaces().Finalize(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: d.ref.Name}}, metav1.UpdateOptions{})
		return ignoreGone(err)
	case "CustomResourceDefinition":
		return nil // the API server itself finalizes it
	}
	_, err = client.Patch(ctx, d.ref.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	return ignoreGone(err)
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

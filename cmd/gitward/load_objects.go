package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

// eachObject reads all objects of the cluster, or of a namespace, of every kind
// that can be listed, a page at a time. Those that may not be read are named.
func (c *clusterReader) eachObject(ctx context.Context, namespace string, con *console, do func(o *unstructured.Unstructured, resource string) error) (unread []string, err error) {
	d, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	client, err := dynamic.NewForConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	lists, err := d.ServerPreferredResources()
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("asking the cluster for its kinds: %w", err)
	}
	defer con.progress(func() string { return "reading the cluster" })()
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for i := range list.APIResources {
			r := &list.APIResources[i]
			if !worthReading(gv.Group, r) || !r.Namespaced && namespace != "" {
				continue
			}
			readable, err := eachOfKind(ctx, client.Resource(gv.WithResource(r.Name)).Namespace(namespace), gv.WithKind(r.Kind), r.Name, do)
			if err != nil {
				return unread, err
			}
			if !readable {
				unread = append(unread, r.Name+"."+gv.Group)
			}
		}
	}
	return unread, nil
}

// worthReading leaves out what says nothing about the cluster's state.
func worthReading(group string, r *metav1.APIResource) bool {
	if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "create") {
		return false
	}
	return r.Name != "events" && (group != "coordination.k8s.io" || r.Name != "leases")
}

func eachOfKind(ctx context.Context, client dynamic.ResourceInterface, gvk schema.GroupVersionKind, resource string, do func(*unstructured.Unstructured, string) error) (readable bool, err error) {
	options := metav1.ListOptions{Limit: 500}
	for {
		page, err := client.List(ctx, options)
		switch {
		case apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("reading %s: %w", resource, err)
		}
		for i := range page.Items {
			page.Items[i].SetGroupVersionKind(gvk)
			if err := do(&page.Items[i], resource); err != nil {
				return true, err
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return true, nil
		}
	}
}

func nameOfObject(o *unstructured.Unstructured) objectName {
	gvk := o.GroupVersionKind()
	return objectName{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

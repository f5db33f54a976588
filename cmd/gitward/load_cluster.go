package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
)

// clusterReader reads what commands need of a cluster. It never writes.
type clusterReader struct {
	config    *rest.Config
	namespace string // of the context
	client    client.Client
}

var readerScheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(apiextensionsv1.AddToScheme(s))
	utilruntime.Must(admissionregistrationv1.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}()

// reachCluster finds a cluster as kubectl does, and asks it once.
func reachCluster(kubeconfig, context string) (*clusterReader, error) {
	// What the libraries have to say is in the errors they return.
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w", err)
	}
	config.QPS, config.Burst, config.Timeout = 50, 100, 30*time.Second
	config.WarningHandler = rest.NoWarnings{}
	c := &clusterReader{config: config}
	if c.namespace, _, err = loader.Namespace(); err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if c.client, err = client.New(config, client.Options{Scheme: readerScheme}); err != nil {
		return nil, fmt.Errorf("reaching the cluster at %s: %w", config.Host, err)
	}
	return c, nil
}

// configuration is what the cluster's Origins and Gates say.
func (c *clusterReader) configuration(ctx context.Context, home string) (*configuration, error) {
	var origins v1alpha1.OriginList
	if err := c.client.List(ctx, &origins); err != nil {
		if meta.IsNoMatchError(err) {
			return nil, fmt.Errorf("the cluster at %s does not know Origins: Gitward is not installed there\n  do    give --config DIR with Origins and Gates, or install Gitward", c.config.Host)
		}
		return nil, fmt.Errorf("reading Origins: %w", err)
	}
	var gates v1alpha1.GateList
	if err := c.client.List(ctx, &gates); err != nil {
		return nil, fmt.Errorf("reading Gates: %w", err)
	}
	out := &configuration{origins: origins.Items, gates: gates.Items, secrets: map[string]*corev1.Secret{}}
	for i := range out.gates {
		out.gates[i].SetDefaults()
	}
	for i := range out.origins {
		out.origins[i].SetDefaults()
		if err := c.secrets(ctx, home, &out.origins[i].Spec, out.secrets); err != nil {
			return nil, fmt.Errorf("reading the Secrets of Origin %s: %w\n  do    have somebody run this who may read Secrets in %s, or give --config DIR", out.origins[i].Name, err, home)
		}
	}
	return out, nil
}

// secrets reads the Secrets that an Origin names. A missing one is found again,
// and told better, when it is used.
func (c *clusterReader) secrets(ctx context.Context, home string, spec *v1alpha1.OriginSpec, into map[string]*corev1.Secret) error {
	names := []string{spec.Signers.SecretRef.Name}
	if spec.SecretRef != nil {
		names = append(names, spec.SecretRef.Name)
	}
	for _, name := range names {
		var s corev1.Secret
		if err := c.client.Get(ctx, types.NamespacedName{Namespace: home, Name: name}, &s); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return err
		}
		into[name] = &s
	}
	return nil
}

// eachCRD hands over the cluster's custom resource definitions.
func (c *clusterReader) eachCRD(ctx context.Context, use func(name string, crd []byte)) error {
	var list apiextensionsv1.CustomResourceDefinitionList
	if err := c.client.List(ctx, &list); err != nil {
		return fmt.Errorf("reading CustomResourceDefinitions: %w", err)
	}
	for i := range list.Items {
		crd := apiextensionsv1.CustomResourceDefinition{
			TypeMeta:   metav1.TypeMeta{APIVersion: apiextensionsv1.SchemeGroupVersion.String(), Kind: "CustomResourceDefinition"},
			ObjectMeta: metav1.ObjectMeta{Name: list.Items[i].Name}, Spec: list.Items[i].Spec}
		data, err := json.Marshal(crd)
		if err != nil {
			return fmt.Errorf("reading CustomResourceDefinition %s: %w", crd.Name, err)
		}
		use(crd.Name, data)
	}
	return nil
}

// errNotThere: the cluster does not have the object, or not even its kind.
type errNotThere struct{ what string }

func (e errNotThere) Error() string { return e.what }

// live reads the object that a manifest is about, in the manifest's API version
// where the cluster serves that.
func (c *clusterReader) live(ctx context.Context, m *gitindex.Manifest) (*unstructured.Unstructured, error) {
	gv, err := schema.ParseGroupVersion(m.APIVersion)
	if err != nil {
		return nil, err
	}
	mapper := c.client.RESTMapper()
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: m.Ref.Kind}, gv.Version)
	if meta.IsNoMatchError(err) {
		mapping, err = mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: m.Ref.Kind})
	}
	if meta.IsNoMatchError(err) {
		return nil, errNotThere{"the cluster has no kind " + m.Ref.GroupKind()}
	}
	if err != nil {
		return nil, fmt.Errorf("asking the cluster for kind %s: %w", m.Ref.GroupKind(), err)
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(mapping.GroupVersionKind)
	key := types.NamespacedName{Namespace: m.Ref.Namespace, Name: m.Ref.Name}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		key.Namespace = ""
	}
	if err := c.client.Get(ctx, key, o); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, errNotThere{"it is not in the cluster"}
		}
		return nil, fmt.Errorf("reading %s: %w", m.Ref, err)
	}
	return o, nil
}

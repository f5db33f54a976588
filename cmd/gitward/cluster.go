package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex/controller"
)

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(apiextensionsv1.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}()

// restConfig is the cluster that a kubeconfig file, $KUBECONFIG, the usual
// place or the Pod's own service account names.
func restConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	if kubeconfig == "" {
		if c, err := rest.InClusterConfig(); err == nil {
			return c, nil
		}
	}
	c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w", err)
	}
	return c, nil
}

// clusterTask makes a task of the manager for the cluster that config names.
type clusterTask func(config *rest.Config) manager.Runnable

// newManager watches what the cluster says: CRDs always; Origins, Gates and
// Secrets unless they come from a directory.
func newManager(o *serveOptions, p *process, tasks ...clusterTask) (manager.Manager, error) {
	ctrl.SetLogger(logr.FromSlogHandler(p.log.Handler()))
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	mgr, err := manager.New(config, manager.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{o.namespace: {}}},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return watchCRDs(ctx, mgr.GetCache(), p) })); err != nil {
		return nil, err
	}
	watcher, err := p.watchLive(config)
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { watcher.Run(ctx); return nil })); err != nil {
		return nil, err
	}
	for _, task := range tasks {
		if err := mgr.Add(task(config)); err != nil {
			return nil, err
		}
	}
	if o.config != "" {
		return mgr, nil
	}
	origins := &controller.OriginReconciler{Client: mgr.GetClient(), Hub: p.hub, Namespace: o.namespace, StateDir: o.stateDir,
		AllowLocal: o.allowLocal, Now: time.Now, Fetching: fetching(o.stateDir)}
	if err := origins.Setup(mgr); err != nil {
		return nil, fmt.Errorf("watching Origins: %w", err)
	}
	gates := &controller.GateReconciler{Client: mgr.GetClient(), Use: p.setGates, Check: checkHoles, Policies: p.policyStatus}
	look := make(chan event.GenericEvent, 1)
	gates.Look, p.policies.Changed = look, func() {
		select {
		case look <- event.GenericEvent{Object: &v1alpha1.Gate{}}:
		default: // one that has not been taken will do
		}
	}
	if err := gates.Setup(mgr); err != nil {
		return nil, fmt.Errorf("watching Gates: %w", err)
	}
	// Without any Gate no event comes; an empty list is an answer too.
	return mgr, mgr.Add(manager.RunnableFunc(gates.Load))
}

// watchCRDs hands each CRD of the cluster to the process.
func watchCRDs(ctx context.Context, c cache.Cache, p *process) error {
	informer, err := c.GetInformer(ctx, &apiextensionsv1.CustomResourceDefinition{})
	if err != nil {
		return fmt.Errorf("watching CustomResourceDefinitions: %w", err)
	}
	set := func(obj any) {
		crd, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
		if !ok {
			return
		}
		// Only the spec says what the API server makes of an object.
		spec := apiextensionsv1.CustomResourceDefinition{TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
			ObjectMeta: metav1.ObjectMeta{Name: crd.Name}, Spec: crd.Spec}
		if data, err := json.Marshal(spec); err == nil {
			p.setCRD(crd.Name, data)
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, now any) { set(now) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if crd, ok := obj.(*apiextensionsv1.CustomResourceDefinition); ok {
				p.setCRD(crd.Name, nil)
			}
		},
	})
	return err
}

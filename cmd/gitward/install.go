package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/charts"
)

type installOptions struct {
	kubeconfig, namespace string
	files, sets           []string
	dryRun                bool
	kubeVersion           string
}

func installCommand() *cobra.Command {
	o := installOptions{}
	c := &cobra.Command{
		Use:   "install",
		Short: "Put Gitward into a cluster, as its Helm chart does",
		Long: `Put Gitward into a cluster, or bring it up to date there. The objects are those of
the Helm chart, rendered by Helm's engine; Helm itself is not needed.

The values have to name who installs Gitward (guard.users): nobody else may change
it from then on.

With --dry-run they are printed and nothing is changed: that is what belongs into
the repository from which your applier installs Gitward. No private key is among
them: the certificate must come from cert-manager or from a Secret of yours.`,
		Example: `  gitward install --set 'guard.users=[ada@example.com]'
  gitward install -f values.yaml --set certs.mode=cert-manager --dry-run > gitward.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return installInto(cmd, &o) },
	}
	f := c.Flags()
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; default: $KUBECONFIG, or the usual place")
	f.StringVarP(&o.namespace, "namespace", "n", "gitward-system", "namespace of Gitward")
	f.StringArrayVarP(&o.files, "values", "f", nil, "file of values; later ones go before earlier ones")
	f.StringArrayVar(&o.sets, "set", nil, "one value, as in certs.mode=cert-manager; goes before files")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the objects as YAML, and change nothing")
	f.StringVar(&o.kubeVersion, "kube-version", "", "version of the cluster; asked of the cluster unless --dry-run")
	return c
}

func installInto(cmd *cobra.Command, o *installOptions) error {
	release := charts.Release{Name: "gitward", Namespace: o.namespace, KubeVersion: o.kubeVersion}
	var err error
	if release.Values, err = o.values(); err != nil {
		return err
	}
	if o.dryRun {
		objects, err := release.Objects()
		if err != nil {
			return err
		}
		if objects, err = o.withoutKeys(cmd, objects, release.Values); err != nil {
			return err
		}
		return printYAML(cmd, objects)
	}
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	release.Cluster = config
	if release.KubeVersion == "" {
		if release.KubeVersion, err = clusterVersion(config); err != nil {
			return err
		}
	}
	objects, err := release.Objects()
	if err != nil {
		return err
	}
	a := applier{out: cmd, namespace: o.namespace}
	if a.announcement, err = release.Announcement(); err != nil {
		return err
	}
	if a.client, err = client.New(config, client.Options{}); err != nil {
		return fmt.Errorf("reaching the cluster: %w", err)
	}
	return a.applyAll(cmd.Context(), objects)
}

// values joins files and single values, the later before the earlier.
func (o *installOptions) values() (map[string]any, error) {
	values := map[string]any{}
	for _, name := range o.files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading values: %w", err)
		}
		var more map[string]any
		if err := yaml.UnmarshalStrict(data, &more); err != nil {
			return nil, fmt.Errorf("reading values from %s: %w", name, err)
		}
		mergeInto(values, more)
	}
	for _, s := range o.sets {
		path, text, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			return nil, fmt.Errorf("--set %q is not of the form name=value", s)
		}
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return nil, fmt.Errorf("--set %s: %w", path, err)
		}
		names := strings.Split(path, ".")
		for i := len(names) - 1; i >= 0; i-- {
			value = map[string]any{names[i]: value}
		}
		mergeInto(values, value.(map[string]any))
	}
	return values, nil
}

func mergeInto(into, from map[string]any) {
	for k, v := range from {
		a, ok1 := into[k].(map[string]any)
		b, ok2 := v.(map[string]any)
		if ok1 && ok2 {
			mergeInto(a, b)
		} else {
			into[k] = v
		}
	}
}

// withoutKeys leaves out private keys: what is printed will be committed. A pair
// that the chart would make is another each time, so that it cannot be left out.
func (o *installOptions) withoutKeys(cmd *cobra.Command, objects []*unstructured.Unstructured, values map[string]any) ([]*unstructured.Unstructured, error) {
	isKey := func(u *unstructured.Unstructured) bool { return u.GetKind() == "Secret" }
	i := slices.IndexFunc(objects, isKey)
	if i < 0 {
		return objects, nil
	}
	name := objects[i].GetName()
	if cert, _, _ := unstructured.NestedString(values, "certs", "cert"); cert == "" {
		return nil, fmt.Errorf("certs.mode self makes a new private key (Secret %s) each time, which must not be printed and committed\n  do    "+
			"--set certs.mode=cert-manager; or make the Secret yourself, and give certs.mode=secret and certs.caBundle; or install without --dry-run", name)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Secret %s is left out: it has a private key\n  do    make it in %s by other means: kubectl -n %s create secret tls %s --cert FILE --key FILE\n",
		name, o.namespace, o.namespace, name)
	return slices.DeleteFunc(objects, isKey), nil
}

func printYAML(cmd *cobra.Command, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return fmt.Errorf("printing %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "---\n%s", data); err != nil {
			return err
		}
	}
	return nil
}

func clusterVersion(config *rest.Config) (string, error) {
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return "", fmt.Errorf("reaching the cluster: %w", err)
	}
	v, err := d.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("asking the cluster for its version: %w", err)
	}
	return v.GitVersion, nil
}

// applier applies objects one after the other, as the person's own field
// manager.
type applier struct {
	out          *cobra.Command
	client       client.Client
	namespace    string
	announcement *unstructured.Unstructured
	patience     time.Duration // with a Gitward that does not answer; zero means a minute
}

const (
	installManager = "gitward-install"
	patience       = time.Minute
)

func (a *applier) applyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	if err := a.ensureNamespace(ctx, objects); err != nil {
		return err
	}
	if err := a.announce(ctx); err != nil {
		return err
	}
	// What a dead Gitward is asked about waits until the rest has brought it up.
	var later []*unstructured.Unstructured
	for i, o := range objects {
		err := a.apply(ctx, o)
		if unanswered(err) {
			later = append(later, o)
			continue
		}
		if err != nil {
			return fmt.Errorf("applying %s %s (%d of %d; what came before is in the cluster): %w", o.GetKind(), o.GetName(), i+1, len(objects), err)
		}
		fmt.Fprintf(a.out.OutOrStdout(), "%s %s applied\n", o.GetKind(), o.GetName())
	}
	if err := a.applyLater(ctx, later); err != nil {
		return err
	}
	fmt.Fprintln(a.out.OutOrStdout(), "  next  gitward doctor says whether it works; then give it an Origin and a Gate")
	return nil
}

// unanswered says whether a write failed only because no Gitward answered.
func unanswered(err error) bool {
	return err != nil && strings.Contains(err.Error(), "failed calling webhook") && strings.Contains(err.Error(), judgeWebhook)
}

// applyLater applies what had to wait, as soon as Gitward answers.
func (a *applier) applyLater(ctx context.Context, objects []*unstructured.Unstructured) error {
	deadline := time.Now().Add(cmp.Or(a.patience, patience))
	for _, o := range objects {
		err := a.apply(ctx, o)
		for unanswered(err) && time.Now().Before(deadline) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(500 * time.Millisecond):
			}
			err = a.apply(ctx, o)
		}
		if err != nil {
			return fmt.Errorf("applying %s %s, which Gitward is asked about (the rest is in the cluster): %w\n  do    "+
				"see that it becomes ready (kubectl -n %s rollout status deployment/gitward), then do this again", o.GetKind(), o.GetName(), err, a.namespace)
		}
		fmt.Fprintf(a.out.OutOrStdout(), "%s %s applied\n", o.GetKind(), o.GetName())
	}
	return nil
}

// ensureNamespace makes the namespace where the values do not. Where it exists it
// is not written: a Gitward that is dead would be asked.
func (a *applier) ensureNamespace(ctx context.Context, objects []*unstructured.Unstructured) error {
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": a.namespace}}}
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			return nil
		}
	}
	err := a.client.Get(ctx, client.ObjectKeyFromObject(ns), ns.DeepCopy())
	if apierrors.IsNotFound(err) {
		err = a.client.Create(ctx, ns)
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the namespace %s: %w", a.namespace, err)
	}
	return nil
}

// announce has running replicas leave the configurations alone, and keep what then
// stands: they would put back the old ones otherwise.
func (a *applier) announce(ctx context.Context) error {
	err := a.client.Delete(ctx, a.announcement.DeepCopy())
	if err == nil || apierrors.IsNotFound(err) {
		err = a.client.Create(ctx, a.announcement.DeepCopy(), client.FieldOwner(installManager))
	}
	if err != nil {
		return fmt.Errorf("announcing the installation: %w", err)
	}
	return nil
}

// apply applies one object. A kind that was defined a moment ago may take a
// moment to be served.
func (a *applier) apply(ctx context.Context, o *unstructured.Unstructured) error {
	data, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		live := o.DeepCopy()
		err := a.client.Patch(ctx, live, client.RawPatch(types.ApplyPatchType, data), client.FieldOwner(installManager), client.ForceOwnership)
		if err == nil && o.GetKind() == "CustomResourceDefinition" {
			return a.established(ctx, o.GetName())
		}
		if !meta.IsNoMatchError(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (a *applier) established(ctx context.Context, name string) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		crd := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}}
		if err := a.client.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == string(metav1.ConditionTrue) {
				return nil
			}
		}
	}
	return errors.New("the API server does not serve it after 30s")
}

package appliers

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	generator "github.com/fluxcd/pkg/kustomize"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/jsondiff"
	"github.com/fluxcd/pkg/ssa/normalize"
	ssautil "github.com/fluxcd/pkg/ssa/utils"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What kustomize-controller does with its libraries, after
// internal/controller/kustomization_controller.go of v1.9.5.
const (
	kustomizeController = "system:serviceaccount:flux-system:kustomize-controller"
	fluxGroup           = "kustomize.toolkit.fluxcd.io"
)

// flux is kustomize-controller, for some Kustomizations of one namespace.
type flux struct {
	*lab
	by        *actor
	inventory map[string][]*unstructured.Unstructured // by Kustomization
}

func (f *flux) client() client.Client {
	return must(client.New(f.by.config("kustomize-controller/v1.9.5"), client.Options{}))
}

// build makes objects of a live Kustomization and a checkout, as in a cluster.
func (f *flux) build(k *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	dir, err := os.MkdirTemp(f.dir, "flux-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(f.tree)); err != nil {
		return nil, err
	}
	path, _, _ := unstructured.NestedString(k.Object, "spec", "path")
	path = filepath.Join(dir, path)
	if _, err := generator.NewGenerator(dir, *k).WriteFile(path); err != nil {
		return nil, err
	}
	built, err := generator.SecureBuild(dir, path, false)
	if err != nil {
		return nil, err
	}
	if _, templated, _ := unstructured.NestedMap(k.Object, "spec", "postBuild"); templated {
		for _, r := range built.Resources() {
			out, err := generator.SubstituteVariables(context.Background(), f.client(), *k, r, generator.SubstituteWithStrict(true))
			if err != nil {
				return nil, err
			}
			if out != nil {
				if _, err := built.Replace(r); err != nil {
					return nil, err
				}
			}
		}
	}
	text, err := built.AsYaml()
	if err != nil {
		return nil, err
	}
	return ssautil.ReadObjects(bytes.NewReader(text))
}

// reconcile applies a Kustomization as it is live, and prunes what it applied
// before.
func (f *flux) reconcile(name string) error {
	k, err := f.get(fluxGroup + "/v1 Kustomization flux-system/" + name)
	if err != nil {
		return err
	}
	objects, err := f.objects(k)
	if err != nil {
		return err
	}
	return f.apply(k, objects)
}

func (f *flux) manager() *ssa.ResourceManager {
	c := f.client()
	manager := ssa.NewResourceManager(c, polling.NewStatusPoller(c, c.RESTMapper(), polling.Options{}), ssa.Owner{Field: "kustomize-controller", Group: fluxGroup})
	manager.SetConcurrency(4)
	return manager
}

// objects are what is built, with the labels of their owner, as they are sent.
func (f *flux) objects(k *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	objects, err := f.build(k)
	if err != nil {
		return nil, err
	}
	f.manager().SetOwnerLabels(objects, k.GetName(), k.GetNamespace())
	if err := normalize.UnstructuredList(objects); err != nil {
		return nil, err
	}
	labels, _, _ := unstructured.NestedStringMap(k.Object, "spec", "commonMetadata", "labels")
	annotations, _, _ := unstructured.NestedStringMap(k.Object, "spec", "commonMetadata", "annotations")
	ssautil.SetCommonMetadata(objects, labels, annotations)
	return objects, nil
}

func (f *flux) apply(k *unstructured.Unstructured, objects []*unstructured.Unstructured) error {
	ctx, manager := context.Background(), f.manager()
	if _, err := manager.ApplyAllStaged(ctx, objects, applyOptions(k)); err != nil {
		return err
	}
	stale := f.stale(k.GetName(), objects)
	if _, err := manager.DeleteAll(ctx, stale, ssa.DeleteOptions{PropagationPolicy: metav1.DeletePropagationBackground,
		Inclusions: manager.GetOwnerLabels(k.GetName(), k.GetNamespace()), Exclusions: map[string]string{fluxGroup + "/prune": "disabled"}}); err != nil {
		return err
	}
	f.inventory[k.GetName()] = objects
	return nil
}

// applyOptions are those of kustomize-controller: it takes back what kubectl
// did.
func applyOptions(k *unstructured.Unstructured) ssa.ApplyOptions {
	o := ssa.DefaultApplyOptions()
	o.Force, _, _ = unstructured.NestedBool(k.Object, "spec", "force")
	o.ForceSelector = map[string]string{fluxGroup + "/force": "enabled"}
	o.ExclusionSelector = map[string]string{fluxGroup + "/reconcile": "disabled", fluxGroup + "/ssa": "Ignore"}
	o.IfNotPresentSelector = map[string]string{fluxGroup + "/ssa": "IfNotPresent"}
	rules, _, _ := unstructured.NestedSlice(k.Object, "spec", "ignore")
	for _, r := range rules {
		rule := r.(map[string]any)
		paths, _, _ := unstructured.NestedStringSlice(rule, "paths")
		kind, _, _ := unstructured.NestedString(rule, "target", "kind")
		o.DriftIgnoreRules = append(o.DriftIgnoreRules, jsondiff.IgnoreRule{Paths: paths, Selector: &jsondiff.Selector{Kind: kind}})
	}
	o.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{"kubectl.kubernetes.io/last-applied-configuration", fluxGroup + "/checksum", "fluxcd.io/sync-checksum"},
		Labels:      []string{"fluxcd.io/sync-gc-mark"},
		FieldManagers: []ssa.FieldManager{{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate}, {Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "kustomize-controller", OperationType: metav1.ManagedFieldsOperationUpdate}},
		Exclusions: map[string]string{fluxGroup + "/ssa": "Merge"},
	}
	return o
}

// stale is what was applied before and is not any more.
func (f *flux) stale(name string, objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	now := map[string]bool{}
	for _, u := range objects {
		now[ssautil.FmtUnstructured(u)] = true
	}
	var out []*unstructured.Unstructured
	for _, u := range f.inventory[name] {
		if !now[ssautil.FmtUnstructured(u)] {
			out = append(out, u)
		}
	}
	return out
}

// kustomization is a Flux Kustomization in the repository, with more of its
// spec, each line indented by two spaces.
func kustomization(name, path, more string) string {
	return fmt.Sprintf("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: %s\n  namespace: flux-system\n"+
		"spec:\n  interval: 1m\n  path: ./%s\n  prune: true\n  sourceRef: {kind: GitRepository, name: flux-system}\n%s", name, path, more)
}

// fluxFiles are a cluster as flux bootstrap lays it out, with Kustomizations that
// ask for all that they can.
func (l *lab) fluxFiles() map[string]string {
	files := merged(shop("flux-overlay"), map[string]string{
		"cluster/flux-system/sync.yaml": l.gitRepository() + "---\n" + kustomization("flux-system", "cluster", ""),
		"cluster/flux-system/ns.yaml":   fluxNamespaceFile,
		"cluster/values.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: flux-system, name: cluster-values}\ndata: {REGION: eu-north, REPLICAS: \"3\"}\n",
		"cluster/apps.yaml": strings.Join([]string{
			kustomization("overlay", "overlay", ""),
			kustomization("generated", "generated", generatedFields),
			kustomization("templated", "templated", templatedFields),
			kustomization("forced", "forced", "  force: true\n"),
			kustomization("ignoring", "ignoring", "  ignore: [{paths: [/spec/replicas], target: {kind: Deployment}}]\n"),
		}, "---\n"),
		"generated/account.yaml":  "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner}\n",
		"generated/job.yaml":      "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec: {schedule: \"0 0 1 1 *\", unknownTypo: 1, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: \"registry.example.org/tick:1\"}]}}}}}\n",
		"generated/old.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\ndata: {a: b}\n",
		"generated/deep/a.yaml":   "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {token: not a secret}\n",
		"templated/place.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: flux-overlay, name: place}\ndata: {region: \"${REGION}\", zone: \"${ZONE:=a}\", domain: \"${DOMAIN}\"}\n",
		"templated/scaled.yaml":   strings.Replace(deployment("scaled", "flux-overlay", "registry.example.org/scaled:1"), "replicas: 2", "replicas: ${REPLICAS}", 1),
		"templated/verbatim.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: flux-overlay, name: verbatim, annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}}\ndata: {text: \"${NOT_A_VARIABLE}\"}\n",
		"ignoring/web.yaml":       deployment("ignoring", "flux-overlay", "registry.example.org/ignoring:1"),
		"forced/web.yaml":         deployment("forced", "flux-overlay", "registry.example.org/forced:1"),
		"forced/once/set.yaml":    "apiVersion: v1\nkind: ConfigMap\nimmutable: true\nmetadata: {namespace: flux-overlay, name: once}\ndata: {apple: red}\n",
	})
	return maps.Clone(files)
}

const generatedFields = `  targetNamespace: flux-overlay
  namePrefix: pre-
  commonMetadata:
    labels: {team: jobs}
    annotations: {example.org/owner: ada}
  images: [{name: registry.example.org/tick, newTag: "2"}]
  patches:
  - target: {kind: CronJob}
    patch: |-
      - op: add
        path: /metadata/annotations
        value: {example.org/patched: "yes"}
`

const templatedFields = `  postBuild:
    substitute: {DOMAIN: shop.example.org}
    substituteFrom: [{kind: ConfigMap, name: cluster-values}]
`

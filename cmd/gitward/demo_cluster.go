package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
)

// clusterDoor sends requests to an API server, as what kubectl would send.
type clusterDoor struct {
	clients map[string]client.Client // by person
}

// accessYAML lets Flux do everything, as its own installation does, and dev
// everything in the common groups.
const accessYAML = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: flux}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "` + fluxUser + `"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: developer}
rules:
  - {apiGroups: ["", apps, autoscaling, batch, networking.k8s.io], resources: ["*"], verbs: ["*"]}
  - {apiGroups: [gitward.dev], resources: ["*"], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: developer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: developer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}, {apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre}]
`

// startCluster is scene 2: the control plane, Gitward's resources, the process,
// and last of all the webhooks, once there is somebody to answer them.
func (d *demo) startCluster(ctx context.Context) error {
	if err := d.startPlane(ctx); err != nil {
		return err
	}
	door, err := newClusterDoor(d.plane)
	if err != nil {
		return err
	}
	d.door = door
	if err := d.configure(ctx, door); err != nil {
		return err
	}
	d.screen.command(admin, "gitward serve --kubeconfig admin.yaml")
	if err := d.screen.step("starting gitward", func() (string, error) {
		if d.guard, err = d.startGuard(ctx, serveOptions{kubeconfig: d.plane.Kubeconfig(admin), guardRegistration: true}); err != nil {
			return "", err
		}
		return "gitward decides at " + d.guard.url, door.awaitReady(ctx)
	}); err != nil {
		return err
	}
	if err := d.showTables(ctx); err != nil {
		return err
	}
	if err := d.installWebhooks(ctx, door); err != nil {
		return err
	}
	return d.installGuard(ctx, door)
}

func (d *demo) startPlane(ctx context.Context) error {
	if _, err := controlplane.Ensure(ctx, d.screen.progress()); err != nil {
		return err
	}
	return d.screen.step("starting etcd, kube-apiserver and kube-controller-manager", func() (string, error) {
		plane, err := controlplane.Start(ctx, controlplane.Options{Dir: d.path("controlplane"), ControllerManager: true,
			Users: []controlplane.User{{Name: fluxUser, Groups: []string{"system:serviceaccounts"}}, {Name: dev}, {Name: grace, Groups: []string{"sre"}}}})
		if err != nil {
			return "", err
		}
		d.plane = plane
		d.atEnd(plane.Stop)
		clients, err := kubernetes.NewForConfig(plane.RESTConfig(admin))
		if err != nil {
			return "", err
		}
		version, err := clients.Discovery().ServerVersion()
		if err != nil {
			return "", fmt.Errorf("asking for the version: %w", err)
		}
		return "kube-apiserver " + version.GitVersion + ", its controllers and etcd run, at " + plane.Host, nil
	})
}

func newClusterDoor(plane *controlplane.ControlPlane) (*clusterDoor, error) {
	c := &clusterDoor{clients: map[string]client.Client{}}
	for _, who := range []string{admin, dev, flux, grace} {
		config := plane.RESTConfig(userName(who))
		config.WarningHandler = rest.NoWarnings{}
		one, err := client.New(config, client.Options{})
		if err != nil {
			return nil, fmt.Errorf("making a client for %s: %w", who, err)
		}
		c.clients[who] = one
	}
	return c, nil
}

// configure installs what an operator would: CRDs, access, Secrets, an Origin
// and a Gate.
func (d *demo) configure(ctx context.Context, door *clusterDoor) error {
	crds, err := install.CRDs()
	if err != nil {
		return err
	}
	d.screen.command(admin, "kubectl apply -f charts/gitward/crds")
	for _, crd := range crds {
		if err := d.create(ctx, door, crd); err != nil {
			return err
		}
	}
	d.showSettings()
	d.screen.command(admin, "kubectl apply -f access.yaml -f secrets.yaml -f origin.yaml -f gate.yaml")
	texts := []string{"apiVersion: v1\nkind: Namespace\nmetadata: {name: " + ownNamespace + "}\n"}
	texts = append(texts, strings.Split(accessYAML, "---\n")...)
	for _, text := range append(texts, d.stage.settings()...) {
		object, err := decodeManifest(text)
		if err != nil {
			return err
		}
		if err := d.create(ctx, door, &unstructured.Unstructured{Object: object}); err != nil {
			return err
		}
	}
	return nil
}

// create creates an object as admin. A kind that was registered a moment ago
// may need another moment.
func (d *demo) create(ctx context.Context, door *clusterDoor, object runtime.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	err = until(ctx, func(ctx context.Context) error {
		err := door.clients[admin].Create(ctx, &unstructured.Unstructured{Object: fields})
		if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsAlreadyExists(err) {
			return final{err}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("creating %s: %w", kubectlName(fields), err)
	}
	d.screen.aside(kubectlName(fields) + " created")
	return nil
}

// awaitReady waits until Gitward says of the Origin and the Gate that they are
// in force.
func (c *clusterDoor) awaitReady(ctx context.Context) error {
	for kind, name := range map[string]string{"Origin": "platform", "Gate": "default"} {
		err := until(ctx, func(ctx context.Context) error {
			u := &unstructured.Unstructured{}
			u.SetAPIVersion("gitward.dev/v1alpha1")
			u.SetKind(kind)
			if err := c.clients[admin].Get(ctx, types.NamespacedName{Name: name}, u); err != nil {
				return err
			}
			conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
			for _, condition := range conditions {
				if m, ok := condition.(map[string]any); ok && m["type"] == "Ready" && m["status"] == "True" {
					return nil
				}
			}
			return fmt.Errorf("%s %s is not Ready: %v", kind, name, conditions)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// showTables shows both resources as `kubectl get` prints them.
func (d *demo) showTables(ctx context.Context) error {
	clients, err := kubernetes.NewForConfig(d.plane.RESTConfig(dev))
	if err != nil {
		return err
	}
	for _, resource := range []string{"origins", "gates"} {
		var table metav1.Table
		raw, err := clients.RESTClient().Get().AbsPath("/apis/gitward.dev/v1alpha1", resource).
			SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(ctx)
		if err == nil {
			err = json.Unmarshal(raw, &table)
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", resource, err)
		}
		d.screen.command(dev, "kubectl get "+resource)
		d.screen.answer(tableText(&table))
	}
	return nil
}

// tableText prints the columns that kubectl shows without -o wide.
func tableText(table *metav1.Table) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	row := func(cell func(i int) string) {
		var cells []string
		for i, column := range table.ColumnDefinitions {
			if column.Priority == 0 {
				cells = append(cells, cell(i))
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row(func(i int) string { return strings.ToUpper(table.ColumnDefinitions[i].Name) })
	for _, r := range table.Rows {
		row(func(i int) string { return fmt.Sprint(r.Cells[i]) })
	}
	w.Flush()
	return b.String()
}

// installWebhooks puts Gitward before the API server, and waits until it is
// asked.
func (d *demo) installWebhooks(ctx context.Context, door *clusterDoor) error {
	judge, annotator := install.Webhooks(d.guard.url, d.guard.ca)
	d.screen.command(admin, "kubectl apply -f webhooks.yaml")
	for _, object := range []runtime.Object{annotator, judge} {
		if err := d.create(ctx, door, object); err != nil {
			return err
		}
	}
	if err := d.screen.step("waiting for the API server to ask gitward", func() (string, error) {
		return "the API server asks gitward about every write", until(ctx, door.asked)
	}); err != nil {
		return err
	}
	policy := admissionregistrationv1.Fail
	if p := judge.Webhooks[0].FailurePolicy; p != nil {
		policy = *p
	}
	d.screen.why("failurePolicy: " + string(policy) + ". Nothing here trusts Flux, a user or a controller: only commits and keys.")
	return nil
}

// asked tries, without a trace, something that only the judge refuses, and
// something that the annotator stamps.
func (c *clusterDoor) asked(ctx context.Context) error {
	bad := c.apply(ctx, strings.Replace(namespaceYAML, "name: shop", "name: shop\n  labels: {a: b}", 1), true)
	good := c.apply(ctx, namespaceYAML, true)
	switch {
	case bad.err != nil || good.err != nil:
		return errors.Join(bad.err, good.err)
	case bad.message == "":
		return errors.New("the judge is not asked")
	case good.message != "":
		return fmt.Errorf("the Namespace is refused: %s", good.message)
	case len(stampLines(good.object)) == 0:
		return errors.New("the annotator is not asked")
	}
	return nil
}

func (c *clusterDoor) apply(ctx context.Context, manifest string, dryRun bool) answer {
	object, err := decodeManifest(manifest)
	if err != nil {
		return answer{err: err}
	}
	options := []client.PatchOption{client.FieldOwner(fluxManager), client.ForceOwnership}
	done := " serverside-applied"
	if dryRun {
		options, done = append(options, client.DryRunAll), " serverside-applied (server dry run)"
	}
	u := &unstructured.Unstructured{Object: object}
	body, err := u.MarshalJSON()
	if err != nil {
		return answer{err: err}
	}
	err = c.clients[flux].Patch(ctx, u, client.RawPatch(types.ApplyPatchType, body), options...)
	return answered(err, kubectlName(object)+done, u)
}

func (c *clusterDoor) edit(ctx context.Context, by, image string) answer {
	web := webReference()
	err := c.clients[by].Patch(ctx, web, client.RawPatch(types.StrategicMergePatchType, imagePatch(image)), client.FieldOwner("kubectl-edit"))
	return answered(err, "deployment.apps/web edited", web)
}

func (c *clusterDoor) scale(ctx context.Context, by string, replicas int) answer {
	web := webReference()
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	err := c.clients[by].SubResource("scale").Patch(ctx, web, patch)
	return answered(err, "deployment.apps/web scaled", web)
}

func (c *clusterDoor) remove(ctx context.Context, by string) answer {
	err := c.clients[by].Delete(ctx, webReference(), client.PropagationPolicy(metav1.DeletePropagationBackground))
	return answered(err, `deployment.apps "web" deleted`, nil)
}

func (c *clusterDoor) image(ctx context.Context) (string, error) {
	web := webReference()
	if err := c.clients[dev].Get(ctx, client.ObjectKeyFromObject(web), web); err != nil {
		return "", fmt.Errorf("reading the Deployment: %w", err)
	}
	return imageOf(web.Object), nil
}

func webReference() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("apps/v1")
	u.SetKind("Deployment")
	u.SetNamespace("shop")
	u.SetName("web")
	return u
}

// answered words what the API server said as kubectl does.
func answered(err error, done string, object *unstructured.Unstructured) answer {
	var status apierrors.APIStatus
	switch {
	case err == nil && object == nil:
		return admitted(done, nil)
	case err == nil:
		return admitted(done, object.Object)
	case errors.As(err, &status):
		s := status.Status()
		return answer{text: fmt.Sprintf("Error from server (%s): %s", s.Reason, s.Message), message: s.Message}
	}
	return answer{err: err}
}

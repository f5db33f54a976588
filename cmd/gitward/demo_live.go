package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/install"
)

// What needs a cluster with its controllers: objects that are made of others,
// an autoscaler, an emergency, and the guard of Gitward itself.

const (
	autoscalerFile = "apps/autoscaler.yaml"
	autoscalerYAML = `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 4
  maxReplicas: 6
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`
	incident = "INC-1234 checkout is down"
)

// installGuard puts the policies in that keep others' hands off Gitward itself.
func (d *demo) installGuard(ctx context.Context, door *clusterDoor) error {
	objects, err := install.Guard(admin)
	if err != nil {
		return err
	}
	d.screen.command(admin, "kubectl apply -f guard.yaml")
	for _, o := range objects {
		if err := d.create(ctx, door, o); err != nil {
			return err
		}
	}
	return d.screen.step("waiting for the API server to mind the guard", func() (string, error) {
		return "nobody but admin, who installed it, changes gitward itself", until(ctx, func(ctx context.Context) error {
			if a := door.takeAway(ctx, true); a.message == "" {
				return errors.Join(errors.New("the guard is not minded"), a.err)
			}
			return nil
		})
	})
}

// takeAway is somebody with Flux's token, who removes the webhook.
func (c *clusterDoor) takeAway(ctx context.Context, dryRun bool) answer {
	judge := &unstructured.Unstructured{}
	judge.SetAPIVersion("admissionregistration.k8s.io/v1")
	judge.SetKind("ValidatingWebhookConfiguration")
	judge.SetName(install.Judge)
	var options []client.DeleteOption
	if dryRun {
		options = append(options, client.DryRunAll)
	}
	return answered(c.clients[flux].Delete(ctx, judge, options...), fmt.Sprintf("validatingwebhookconfiguration %q deleted", install.Judge), nil)
}

// live is scene 7: what Kubernetes makes of what Git declares.
func (d *demo) live(ctx context.Context) error {
	door, ok := d.door.(*clusterDoor)
	if !ok {
		return errors.New("there is no cluster")
	}
	var made []unstructured.Unstructured
	if err := until(ctx, func(ctx context.Context) error {
		var err error
		if made, err = door.made(ctx); err == nil && len(made) < 4 {
			err = fmt.Errorf("there are %d", len(made))
		}
		return err
	}); err != nil {
		return fmt.Errorf("waiting for a ReplicaSet and three Pods: %w", err)
	}
	d.screen.command(dev, "kubectl get replicasets,pods -n shop -o custom-columns-file=columns")
	d.screen.answer(derivedTable(made))
	d.screen.good("admitted: their controllers made them, from what Ben signed, exactly as its template says.")

	a := door.forge(ctx, &made[0])
	if err := d.show(dev, "kubectl create -f pod-with-an-owner.yaml", a, "an ownerReference proves nothing"); err != nil {
		return err
	}
	d.verdict(a, "it names the same owner, but dev is not the controller.")

	if err := d.commit("ada", gitserver.CommitOptions{Message: "web: 4 to 6 replicas", Files: map[string]string{autoscalerFile: autoscalerYAML}}, d.stage.ada); err != nil {
		return err
	}
	a = door.apply(ctx, autoscalerYAML, false)
	if err := d.show(flux, applyCommand+autoscalerFile, a); err != nil {
		return err
	}
	if err := d.screen.step("waiting for the autoscaler", func() (string, error) {
		return "the autoscaler scaled web to 4: Ada signed it, and it stays within its bounds", until(ctx, func(ctx context.Context) error {
			n, err := door.replicas(ctx)
			if err == nil && n != 4 {
				err = fmt.Errorf("there are %d replicas", n)
			}
			return err
		})
	}); err != nil {
		return err
	}
	a = d.door.scale(ctx, dev, 5)
	if err := d.show(dev, "kubectl scale deployment web -n shop --replicas=5", a, "differs from Git: spec.replicas"); err != nil {
		return err
	}
	d.verdict(a, "the bounds are the autoscaler's, not dev's.")
	return nil
}

// made lists the ReplicaSets and Pods of the shop.
func (c *clusterDoor) made(ctx context.Context) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	for _, kind := range []string{"apps/v1 ReplicaSetList", "v1 PodList"} {
		list := &unstructured.UnstructuredList{}
		version, name, _ := strings.Cut(kind, " ")
		list.SetAPIVersion(version)
		list.SetKind(name)
		if err := c.clients[dev].List(ctx, list, client.InNamespace("shop")); err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
	}
	return all, nil
}

func derivedTable(objects []unstructured.Unstructured) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tOWNER\tCOMMIT")
	for i := range objects {
		o := &objects[i]
		owner := ""
		for _, r := range o.GetOwnerReferences() {
			owner = r.Name
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.GetKind(), o.GetName(), owner, o.GetAnnotations()[gate.StampCommit])
	}
	w.Flush()
	return b.String()
}

// forge is a Pod of dev's own that claims a ReplicaSet for its owner.
func (c *clusterDoor) forge(ctx context.Context, owner *unstructured.Unstructured) answer {
	pod, err := decodeManifest(`{apiVersion: v1, kind: Pod, metadata: {name: mine, namespace: shop}, spec: {containers: [{name: web, image: "` + strangerImage + `"}]}}`)
	if err != nil {
		return answer{err: err}
	}
	u := &unstructured.Unstructured{Object: pod}
	u.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet",
		"name": owner.GetName(), "uid": string(owner.GetUID()), "controller": true}}
	return answered(c.clients[dev].Create(ctx, u), "pod/mine created", u)
}

func (c *clusterDoor) replicas(ctx context.Context) (int64, error) {
	web := webReference()
	if err := c.clients[dev].Get(ctx, client.ObjectKeyFromObject(web), web); err != nil {
		return 0, fmt.Errorf("reading the Deployment: %w", err)
	}
	n, _, err := unstructured.NestedInt64(web.Object, "spec", "replicas")
	return n, err
}

// emergency is scene 8: there is no time for Git, and somebody pulls the rug.
func (d *demo) emergency(ctx context.Context) error {
	door, ok := d.door.(*clusterDoor)
	if !ok {
		return errors.New("there is no cluster")
	}
	a := door.breakGlass(ctx, incident)
	if err := d.show(grace, "kubectl patch deployment web -n shop --patch-file hotfix.yaml   # with "+gate.StampBreakGlass+": "+incident, a); err != nil {
		return err
	}
	d.verdict(a, "grace is of the group sre, and gave a reason. It is recorded, and owed to Git.")
	var out bytes.Buffer
	if err := until(ctx, func(ctx context.Context) error { // the list is in the Gate's status, a moment later
		out.Reset()
		_ = d.run(ctx, &out, "breakglass", "list") // 1 is its exit code while something is owed
		if !strings.Contains(out.String(), incident) {
			return errors.New("break-glass is not listed")
		}
		return nil
	}); err != nil {
		return fmt.Errorf("%w:\n%s", err, out.String())
	}
	d.screen.command(admin, "gitward breakglass list")
	d.screen.answer(out.String())

	a = door.apply(ctx, webYAML(goodImage), false)
	if err := d.show(flux, applyCommand+webFile, a); err != nil {
		return err
	}
	d.verdict(a, "Git has the last word, when Flux comes round.")
	if err := d.stillRuns(ctx, goodImage); err != nil {
		return err
	}

	a = door.takeAway(ctx, false)
	if err := d.show("mallory", "kubectl --token=$STOLEN_FROM_FLUX delete validatingwebhookconfiguration "+install.Judge, a, "is Gitward's own"); err != nil {
		return err
	}
	d.verdict(a, "Flux's token is cluster-admin. The API server itself keeps the webhook, even with gitward dead.")
	return nil
}

func (c *clusterDoor) breakGlass(ctx context.Context, reason string) answer {
	web := webReference()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}},"spec":{"template":{"spec":{"containers":[{"name":"web","image":%q}]}}}}`,
		gate.StampBreakGlass, reason, hotfixImage)
	err := c.clients[grace].Patch(ctx, web, client.RawPatch(types.StrategicMergePatchType, patch), client.FieldOwner("kubectl-patch"))
	return answered(err, "deployment.apps/web patched", web)
}

// run runs a command of gitward's as it is typed, within this process; only its
// index goes to the demo's directory.
func (d *demo) run(ctx context.Context, out *bytes.Buffer, args ...string) error {
	root := rootCommand("gitward")
	root.SetOut(out)
	root.SetErr(out)
	root.SetArgs(append(args, "--kubeconfig", d.plane.Kubeconfig(admin), "--state-dir", d.path("trace")))
	return root.ExecuteContext(ctx)
}

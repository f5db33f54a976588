package appliers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/server"
)

// units are the Kustomizations, in an order in which each finds its namespace.
var units = []string{"flux-system", "overlay", "generated", "templated", "forced", "ignoring"}

// TestFlux: what kustomize-controller makes of Kustomizations in Git, and the
// very requests of its libraries. The Origin lists nothing.
func TestFlux(t *testing.T) {
	l := newLab(t)
	l.put(fluxCRDs())
	f := &flux{lab: l, by: l.actor(kustomizeController), inventory: map[string][]*unstructured.Unstructured{}}
	person := l.actor("eve")
	l.commit(l.fluxFiles())
	l.put(l.files["cluster/flux-system/sync.yaml"]) // as flux bootstrap does
	l.trustWith(func(*v1alpha1.Origin) {}, func(g *v1alpha1.Gate) {
		expires := metav1.NewTime(time.Now().Add(time.Hour))
		g.Spec.Exclude = []v1alpha1.Exclusion{{Resources: []string{"gates.gitward.dev"}, Users: []string{controlplane.Admin}, Reason: "the story changes the Gate", Expires: &expires}}
	})
	l.noProblems()
	l.chapter("applied", func(*testing.T) { f.reconciles("first reconcile", units...) })
	l.chapter("settled", func(*testing.T) { f.settled(3) })
	l.chapter("a commit elsewhere writes nothing", func(*testing.T) {
		l.commit(map[string]string{"README.md": "# something else\n"})
		f.settled(1)
	})
	l.chapter("a change arrives", func(*testing.T) { f.changes() })
	l.chapter("what kubectl applied is taken over", func(*testing.T) { f.takesOver() })
	l.chapter("what is removed is pruned", func(*testing.T) { f.prunes() })
	l.chapter("what cannot be changed is made anew", func(*testing.T) { f.forces() })
	l.chapter("its own writes", func(*testing.T) { f.ownWrites() })
	l.chapter("drift is repaired", func(*testing.T) { f.repairs(person) })
	l.chapter("what it ignores stays", func(*testing.T) { f.ignores(person) })
	l.chapter("refused", func(*testing.T) { f.attacks(person) })
	l.chapter("settled again", func(*testing.T) { f.settled(1) })
}

// reconciles runs units, all of whose requests must be admitted.
func (f *flux) reconciles(what string, names ...string) {
	f.t.Helper()
	for _, name := range names {
		if err := f.reconcile(name); err != nil {
			f.t.Errorf("%s of %s: %v", what, name, err)
		}
	}
	f.by.tell(f.t, what)
}

// settled reconciles all a few times: nothing may be written.
func (f *flux) settled(times int) {
	f.t.Helper()
	for range times {
		f.reconciles("reconcile", units...)
		if n := f.by.last; len(n) != 0 {
			f.t.Errorf("no write was expected, these were: %q", n)
		}
	}
}

func (f *flux) changes() {
	f.t.Helper()
	f.commit(map[string]string{"overlay/settings.yaml": strings.ReplaceAll(f.files["overlay/settings.yaml"], "red", "green")})
	f.reconciles("reconcile of a change", units...)
	if len(f.by.last) != 1 {
		f.t.Errorf("one write was expected, these were: %q", f.by.last)
	}
	f.settled(1)
}

// takesOver: a person applies the same without Flux's labels, client-side while
// there is no gate.
func (f *flux) takesOver() {
	f.t.Helper()
	job := f.by
	f.gated(false)
	f.runsAs(job, "client-side apply", "apply", "-f", f.built("overlay"))
	f.gated(true)
	f.reconciles("reconcile, which takes back", "overlay")
	f.runsAs(job, "server-side apply", "apply", "--server-side", "--force-conflicts", "-f", f.built("overlay"))
	f.reconciles("reconcile, which takes back", "overlay")
	f.settled(1)
}

func (f *flux) prunes() {
	f.t.Helper()
	f.commit(nil, "generated/old.yaml")
	f.reconciles("reconcile, which prunes", "generated")
	if f.exists("v1 ConfigMap flux-overlay/pre-old") {
		f.t.Error("it is not pruned")
	}
}

// forces changes what the API server lets nobody change.
func (f *flux) forces() {
	f.t.Helper()
	f.commit(map[string]string{
		"forced/web.yaml":      strings.ReplaceAll(f.files["forced/web.yaml"], "app: web", "app: other"),
		"forced/once/set.yaml": strings.ReplaceAll(f.files["forced/once/set.yaml"], "red", "green"),
	})
	f.reconciles("reconcile, which makes anew", "forced")
	f.settled(1)
}

// ownWrites: the finalizer that the controller holds its Kustomizations by.
func (f *flux) ownWrites() {
	f.t.Helper()
	for _, name := range units {
		f.check(f.patch(f.by, fluxGroup+"/v1 Kustomization flux-system/"+name, `{"metadata":{"finalizers":["finalizers.fluxcd.io"]}}`, metav1.PatchOptions{FieldManager: "gotk-kustomize-controller"}))
	}
	f.by.tell(f.t, "finalizers")
	f.settled(1)
}

func (l *lab) patch(by *actor, object, text string, options metav1.PatchOptions) error {
	u := ref(object)
	client, err := l.client(by.dynamic("kubectl/v1.37.2"), u)
	if err != nil {
		return err
	}
	_, err = client.Patch(context.Background(), u.GetName(), types.MergePatchType, []byte(text), options)
	return err
}

// repairs: a person spoils what Git declares while the Gate only audits.
func (f *flux) repairs(person *actor) {
	f.t.Helper()
	f.action("Audit")
	for object, text := range map[string]string{
		"apps/v1 Deployment flux-overlay/web":       `{"metadata":{"labels":{"team":"evil"}},"spec":{"replicas":9,"template":{"spec":{"containers":[{"name":"web","image":"registry.example.org/evil:1"}]}}}}`,
		"v1 ConfigMap flux-overlay/settings":        `{"data":{"apple":"rotten"}}`,
		"v1 Service flux-overlay/web":               `{"spec":{"selector":{"app":"evil"}}}`,
		"batch/v1 CronJob flux-overlay/pre-tick":    `{"spec":{"schedule":"1 1 1 1 *"}}`,
		"v1 ConfigMap flux-overlay/place":           `{"data":{"region":"elsewhere"}}`,
		"v1 ServiceAccount flux-overlay/pre-runner": `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"other"}}}`,
	} {
		f.check(f.patch(person, object, text, metav1.PatchOptions{FieldManager: "kubectl-edit"}))
	}
	f.action("Deny")
	f.reconciles("reconcile, which repairs", units...)
	u, err := f.get("apps/v1 Deployment flux-overlay/web")
	f.check(err)
	if n, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); n != 3 {
		f.t.Errorf("%d replicas after the repair", n)
	}
	f.settled(1)
}

// ignores: a field that the Kustomization ignores stays as it is live, while the
// rest follows Git.
func (f *flux) ignores(person *actor) {
	f.t.Helper()
	const web = "apps/v1 Deployment flux-overlay/ignoring"
	f.gated(false)
	f.check(f.patch(person, web, `{"spec":{"replicas":9}}`, metav1.PatchOptions{FieldManager: "somebody"}))
	f.gated(true)
	f.settled(1)
	f.commit(map[string]string{"ignoring/web.yaml": strings.ReplaceAll(f.files["ignoring/web.yaml"], "ignoring:1", "ignoring:2")})
	f.reconciles("reconcile of a change beside it", "ignoring")
	u, err := f.get(web)
	f.check(err)
	if n, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); n != 9 {
		f.t.Errorf("%d replicas, 9 were live", n)
	}
	f.settled(1)
}

// action changes what the Gate does, and waits until it does so.
func (l *lab) action(action string) {
	l.t.Helper()
	admin := &actor{lab: l, user: controlplane.Admin, objects: map[string]bool{}}
	admin.token = l.plane.RESTConfig(controlplane.Admin).BearerToken
	l.check(l.patch(admin, "gitward.dev/v1alpha1 Gate "+gateName, `{"spec":{"action":"`+action+`"}}`, metav1.PatchOptions{}))
	server.Await(l.t, "the Gate's action "+action, 20*time.Second, func() error {
		u := parse(l.t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: probe-that-is-in-no-repository}\n")[0]
		client, err := l.client(l.dynamic, ref("v1 ConfigMap default/x"))
		l.check(err)
		_, err = client.Create(context.Background(), u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if server.Refused(err) != (action == "Deny") {
			return fmt.Errorf("the answer is %v", err)
		}
		return nil
	})
}

// attacks are a person's edits, and what the controller's own account may not
// do: it applies whatever a Kustomization tells it to.
func (f *flux) attacks(person *actor) {
	f.t.Helper()
	edit := func(name, object, text string) attack {
		return attack{name: name, do: func(dry bool) error {
			options := metav1.PatchOptions{FieldManager: "kustomize-controller"}
			if dry {
				options.DryRun = []string{metav1.DryRunAll}
			}
			return f.patch(person, object, text, options)
		}}
	}
	byHand := kustomization("byhand", "generated", generatedFields)
	f.refuses(person,
		edit("a manual edit", "v1 ConfigMap flux-overlay/settings", `{"data":{"apple":"rotten"}}`),
		edit("a Kustomization edited by hand", fluxGroup+"/v1 Kustomization flux-system/overlay", `{"spec":{"path":"./elsewhere"}}`),
		edit("a variable edited by hand", "v1 ConfigMap flux-system/cluster-values", `{"data":{"REGION":"elsewhere"}}`),
		edit("a source edited by hand", "source.toolkit.fluxcd.io/v1 GitRepository flux-system/flux-system", `{"spec":{"ref":{"branch":"feature"}}}`),
		edit("reconciliation disabled by hand", "apps/v1 Deployment flux-overlay/web", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled"}}}`),
		f.lab.apply(person, "a Kustomization created by hand", byHand),
	)
	overlay, err := f.get(fluxGroup + "/v1 Kustomization flux-system/overlay")
	f.check(err)
	generated, err := f.get(fluxGroup + "/v1 Kustomization flux-system/generated")
	f.check(err)
	f.refuses(f.by,
		f.foreign("the label of unit A on an object of unit B", generated, func(k *unstructured.Unstructured) { k.SetName("overlay") }),
		f.foreign("a Kustomization that Git does not have", generated, func(k *unstructured.Unstructured) { k.SetName("byhand") }),
		f.foreign("an image that Git does not have", generated, func(k *unstructured.Unstructured) {
			f.check(unstructured.SetNestedSlice(k.Object, []any{map[string]any{"name": "registry.example.org/tick", "newTag": "evil"}}, "spec", "images"))
		}),
		f.foreign("a variable that is not in Git", must(f.get(fluxGroup+"/v1 Kustomization flux-system/templated")), func(k *unstructured.Unstructured) {
			f.check(unstructured.SetNestedField(k.Object, "evil.example.org", "spec", "postBuild", "substitute", "DOMAIN"))
		}),
		f.foreign("another directory of the repository", overlay, func(k *unstructured.Unstructured) {
			f.check(unstructured.SetNestedField(k.Object, "./base", "spec", "path"))
			f.check(unstructured.SetNestedField(k.Object, "flux-overlay", "spec", "targetNamespace"))
		}),
	)
	f.unmerged(overlay)
}

// foreign applies what a changed Kustomization builds.
func (f *flux) foreign(name string, k *unstructured.Unstructured, change func(*unstructured.Unstructured)) attack {
	k = k.DeepCopy()
	change(k)
	return attack{name: name, do: func(dry bool) error {
		objects, err := f.objects(k)
		if err != nil {
			return err
		}
		if !dry {
			return f.apply(k, objects)
		}
		for _, u := range objects {
			client, err := f.lab.client(f.by.dynamic("kustomize-controller/v1.9.5"), u)
			if err != nil {
				return err
			}
			if _, err := client.Apply(context.Background(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "kustomize-controller", Force: true, DryRun: []string{metav1.DryRunAll}}); err != nil {
				return err
			}
		}
		return nil
	}}
}

// unmerged: the source follows a branch that nobody merged.
func (f *flux) unmerged(overlay *unstructured.Unstructured) {
	f.t.Helper()
	name := "overlay/settings.yaml"
	text := f.files[name]
	rotten := strings.ReplaceAll(text, "green", "rotten")
	must(f.repo.Commit(gitserver.CommitOptions{Files: map[string]string{name: rotten}, Signer: f.signer, Message: "not merged",
		Ref: "refs/heads/feature", Parents: []string{f.repo.Ref(gitserver.MainRef)}}))
	f.write(f.path(name), rotten)
	f.refuses(f.by, f.foreign("a branch that is not merged", overlay, func(*unstructured.Unstructured) {}))
	f.write(f.path(name), text)
}

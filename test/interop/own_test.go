package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/api/v1alpha1"
)

const (
	fluxKustomization = "kustomize.toolkit.fluxcd.io/v1 Kustomization "
	gitRepository     = "source.toolkit.fluxcd.io/v1 GitRepository "
)

// story is one repository that Flux deploys, and what is to be seen of it.
type story struct {
	files  map[string]string // without Flux's own
	render []v1alpha1.Render
	units  []string // the Kustomizations beside flux-system

	web     string // a Deployment: "apps/v1 Deployment shop/web"
	image   string // of its first container, as rendered
	setting string // a ConfigMap whose key "apple" is "red", as rendered
	source  string // the file that the setting is in
	pruned  string // the file that is taken away, and ...
	orphan  string // ... its only object
	stays   []string
}

// bootstrap brings Flux into the cluster, as a person does once, and gives the
// repository's files with Flux's own. Nothing runs yet.
func (s story) bootstrap(l *lab) (*flux, map[string]string) {
	files := maps.Clone(s.files)
	files["clusters/test/flux-system/gotk-components.yaml"] = components(l)
	files["clusters/test/flux-system/gotk-sync.yaml"] = gotkSync(l, "clusters/test")
	f := newFlux(l)
	f.bootstrap(files["clusters/test/flux-system/gotk-sync.yaml"])
	f.accounts()
	return f, files
}

// kustomizations are all that the story has, with their namespace.
func (s story) kustomizations() []string {
	all := []string{fluxNamespace + "/flux-system"}
	for _, name := range s.units {
		all = append(all, fluxNamespace+"/"+name)
	}
	return all
}

// playFlux tells one story after the other of the same cluster.
func playFlux(t *testing.T, s story) {
	l := newLab(t)
	f, files := s.bootstrap(l)
	tip := l.commit(files)
	l.trust(tip, s.render)
	l.gated(true)
	begin := l.mark()
	f.run()
	all := s.kustomizations()
	defer func() {
		if t.Failed() {
			t.Logf("kustomize-controller says:\n%s", f.kustomize.tail())
		}
	}()
	reached := t.Run("everything that Flux applies is admitted", func(t *testing.T) {
		l.t = t
		await(t, "the first reconciliation", patience, func() error { return f.reconciled(tip, all...) })
		l.nothingDenied(t, begin, kustomizer, sourcer)
		for _, object := range append(s.stays, s.web, s.setting, s.orphan) {
			if _, err := l.get(object); err != nil {
				t.Errorf("%s: %v", object, err)
			}
		}
		table(t, "the first reconciliation", l.tallies(begin.requests, kustomizer))
		f.second(t, all)
	})
	if !reached {
		table(t, "what was asked for", l.tallies(begin.requests, kustomizer, sourcer))
		return
	}
	t.Run("it is settled after the first", func(t *testing.T) { f.in(t).settled(t, all, 4) })
	t.Run("a commit elsewhere writes nothing", func(t *testing.T) {
		tip = f.in(t).commit(map[string]string{"README.md": "# something else\n"})
		await(t, "the next commit", patience, func() error { return f.reconciled(tip, all...) })
		f.settled(t, all, 2)
	})
	t.Run("a change in Git arrives", func(t *testing.T) {
		since := f.in(t).mark()
		tip = l.commit(map[string]string{s.source: strings.ReplaceAll(files[s.source], "red", "green")})
		await(t, "the change", patience, func() error { return f.value(s.setting, "green", "data", "apple") })
		await(t, "the commit", patience, func() error { return f.reconciled(tip, all...) })
		l.nothingDenied(t, since, kustomizer, sourcer)
		f.settled(t, all, 2)
	})
	t.Run("what is removed in Git is pruned", func(t *testing.T) {
		since := f.in(t).mark()
		tip = l.commit(nil, s.pruned)
		l.gone(s.orphan, patience)
		await(t, "the commit", patience, func() error { return f.reconciled(tip, all...) })
		l.nothingDenied(t, since, kustomizer, sourcer)
	})
	t.Run("a manual edit is refused", func(t *testing.T) {
		f.in(t).refusals(t, l.eve, map[string]string{
			s.web:     `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"registry.example.org/evil:1"}]}}}}`,
			s.setting: `{"data":{"apple":"rotten"}}`,
		})
	})
	t.Run("a Flux object that is edited by hand is refused", func(t *testing.T) {
		edits := map[string]string{gitRepository + fluxNamespace + "/flux-system": `{"spec":{"url":"https://git.example.org/other.git"}}`}
		for _, name := range all {
			edits[fluxKustomization+name] = `{"spec":{"path":"./elsewhere"}}`
		}
		f.in(t).refusals(t, l.eve, edits)
		for _, name := range all {
			edits[fluxKustomization+name] = `{"spec":{"suspend":true}}`
		}
		f.refusals(t, l.eve, edits)
	})
	t.Run("Flux's own account may do nothing that is not in Git", func(t *testing.T) {
		config := rest.AnonymousClientConfig(l.plane.RESTConfig(person))
		config.BearerToken = f.kustomize.token
		asFlux := must(dynamic.NewForConfig(config))
		f.in(t).refusals(t, asFlux, map[string]string{s.setting: `{"data":{"apple":"rotten"}}`})
		u := ref("v1 ConfigMap " + ref(s.setting).GetNamespace() + "/smuggled")
		u.SetLabels(map[string]string{"kustomize.toolkit.fluxcd.io/name": s.units[0], "kustomize.toolkit.fluxcd.io/namespace": fluxNamespace})
		client := must(l.client(asFlux, u))
		_, err := client.Apply(context.Background(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "kustomize-controller", Force: true})
		if !refused(err) {
			t.Errorf("what is in no repository: %v", err)
		}
	})
	t.Run("what a person spoils while the gate is off is repaired", func(t *testing.T) { f.in(t).repairs(t, s, all, tip) })
	t.Run("what nobody signed is not applied", func(t *testing.T) { f.in(t).unsigned(t, s, all, files) })
}

// in has failures told of the subtest that they are of.
func (f *flux) in(t *testing.T) *flux {
	f.t = t
	return f
}

// value waits for a field of an object.
func (f *flux) value(object, want string, path ...string) error {
	u, err := f.get(object)
	if err != nil {
		return err
	}
	if got, _, _ := unstructured.NestedString(u.Object, path...); got != want {
		return fmt.Errorf("%s is %q", strings.Join(path, "."), got)
	}
	return nil
}

// again waits for so many more reconciliations of every Kustomization, and
// counts what they asked for. A Kustomization's status is its own affair.
func (f *flux) again(since mark, kustomizations []string, times int) map[string]*tally {
	f.t.Helper()
	var tallies map[string]*tally
	await(f.t, "more reconciliations", patience, func() error {
		tallies = f.tallies(since.requests, kustomizer)
		maps.DeleteFunc(tallies, func(object string, _ *tally) bool { return strings.Contains(object, "/status") })
		if len(tallies) < len(kustomizations) {
			return fmt.Errorf("only %d objects were asked for", len(tallies))
		}
		for object, c := range tallies {
			if c.dryRuns < times {
				return fmt.Errorf("%s was dry run %d times", object, c.dryRuns)
			}
		}
		return nil
	})
	return tallies
}

// cleansed is what Flux writes in its second reconciliation of objects that were
// there before it, with Gitward or without: it takes its own first write out of
// a Namespace's managedFields, and applies once more.
var cleansed = map[string]int{"namespaces " + fluxNamespace + "/" + fluxNamespace: 2}

// second waits for the second reconciliation, which writes that and no more.
func (f *flux) second(t *testing.T, kustomizations []string) {
	t.Helper()
	for object, c := range f.again(f.mark(), kustomizations, 1) {
		if c.writes != 0 && c.writes != cleansed[object] || c.denied > 0 {
			t.Errorf("%s: %d writes, %d denied in the second reconciliation\n%s", object, c.writes, c.denied, strings.Join(c.written, "\n"))
		}
	}
}

// settled holds that so many more reconciliations write nothing: every dry run
// shows the object as it is.
func (f *flux) settled(t *testing.T, kustomizations []string, times int) {
	t.Helper()
	since := f.mark()
	tallies := f.again(since, kustomizations, times)
	for object, c := range tallies {
		if c.writes > 0 || c.denied > 0 || c.others > 0 {
			t.Errorf("%s: %d writes, %d denied and %d other errors in %d reconciliations\n%s", object, c.writes, c.denied, c.others, c.dryRuns, strings.Join(c.written, "\n"))
		}
	}
	f.nothingDenied(t, since, kustomizer, sourcer)
	table(t, "settled", tallies)
}

// refusals holds that each edit is refused by Gitward.
func (f *flux) refusals(t *testing.T, as dynamic.Interface, edits map[string]string) {
	t.Helper()
	for _, object := range slices.Sorted(maps.Keys(edits)) {
		if err := f.patch(as, object, edits[object]); !refused(err) {
			t.Errorf("%s %s: %v", object, edits[object], err)
		}
		if err := f.delete(as, object); !refused(err) {
			t.Errorf("deleting %s: %v", object, err)
		}
	}
}

// repairs: the kustomize-controller is away, so is the gate, and Eve spoils what
// she can. Then both come back.
func (f *flux) repairs(t *testing.T, s story, kustomizations []string, tip string) {
	t.Helper()
	f.kustomize.stop()
	f.gated(false)
	for object, change := range map[string]string{
		s.web:     `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":null}},"spec":{"replicas":7,"template":{"spec":{"containers":[{"name":"web","image":"registry.example.org/evil:1"}]}}}}`,
		s.setting: `{"data":{"apple":"rotten","pear":"smuggled"}}`,
		fluxKustomization + kustomizations[len(kustomizations)-1]: `{"spec":{"force":true}}`,
	} {
		f.check(f.patch(f.eve, object, change))
	}
	for _, object := range s.stays {
		if ref(object).GetKind() == "Service" {
			f.check(f.delete(f.eve, object))
		}
	}
	f.gated(true)
	since := f.mark()
	f.kustomize.start()
	f.kustomize.ready(f.kustomize.health)
	await(t, "the repair", 2*patience, func() error {
		u, err := f.get(s.web)
		if err != nil {
			return err
		}
		containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
		image, _, _ := unstructured.NestedString(containers[0].(map[string]any), "image")
		if image != s.image || u.GetLabels()["kustomize.toolkit.fluxcd.io/name"] == "" {
			return fmt.Errorf("its image is %q, its labels %v", image, u.GetLabels())
		}
		settings, err := f.get(s.setting)
		if err != nil {
			return err
		}
		data, _, _ := unstructured.NestedStringMap(settings.Object, "data")
		if data["apple"] != "green" || data["pear"] != "" {
			return fmt.Errorf("the settings are %v", data)
		}
		for _, object := range s.stays {
			if _, err := f.get(object); err != nil {
				return fmt.Errorf("%s: %w", object, err)
			}
		}
		return f.reconciled(tip, kustomizations...)
	})
	f.nothingDenied(t, since, kustomizer, sourcer)
	table(t, "the repair", f.tallies(since.requests, kustomizer))
	f.settled(t, kustomizations, 2)
}

// unsigned: a commit that nobody signed is fetched and tried by Flux, which
// checks no signature here, and refused; a signed one mends it.
func (f *flux) unsigned(t *testing.T, s story, kustomizations []string, files map[string]string) {
	t.Helper()
	since := f.mark()
	f.commitAs(nil, map[string]string{s.source: strings.ReplaceAll(files[s.source], "red", "rotten")})
	await(t, "a refusal", patience, func() error {
		if f.deniedSince(since, kustomizer) == 0 {
			return errors.New("nothing was refused")
		}
		return nil
	})
	time.Sleep(5 * time.Second)
	if err := f.value(s.setting, "green", "data", "apple"); err != nil {
		t.Error(err)
	}
	tip := f.commit(map[string]string{s.source: strings.ReplaceAll(files[s.source], "red", "blue")})
	await(t, "the signed commit", patience, func() error {
		if err := f.value(s.setting, "blue", "data", "apple"); err != nil {
			return err
		}
		return f.reconciled(tip, kustomizations...)
	})
}

// TestFluxPlain: directories of plain YAML, for which kustomize-controller
// makes a kustomization of its own.
func TestFluxPlain(t *testing.T) {
	need(t, "flux")
	playFlux(t, plainStory())
}

func plainStory() story {
	return story{
		units: []string{"plain"},
		render: []v1alpha1.Render{
			{Path: "clusters/test", Namespace: "default", Applier: &v1alpha1.Applier{Flux: &v1alpha1.FluxApplier{Name: "flux-system", Namespace: fluxNamespace}}},
			{Path: "apps/plain", Namespace: "default", Applier: &v1alpha1.Applier{Flux: &v1alpha1.FluxApplier{Name: "plain", Namespace: fluxNamespace}}},
		},
		files: map[string]string{
			"clusters/test/apps.yaml":   kustomization("plain", "apps/plain", ""),
			"apps/plain/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
			"apps/plain/web.yaml":       deployment("shop", "registry.example.org/web:1"),
			"apps/plain/service.yaml":   "apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
			"apps/plain/settings.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: settings}\ndata: {apple: red}\n",
			"apps/plain/secret.yaml":    "apiVersion: v1\nkind: Secret\nmetadata: {namespace: shop, name: token}\nstringData: {token: not a secret}\n",
			"apps/plain/old.yaml":       "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: old}\ndata: {a: b}\n",
			"apps/plain/more/roles.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {namespace: shop, name: reader}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n---\n" +
				"apiVersion: batch/v1\nkind: CronJob\nmetadata: {namespace: shop, name: tick}\nspec: {schedule: \"0 0 1 1 *\", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x, resources: {limits: {cpu: \"0.5\"}}}]}}}}}\n",
		},
		web: "apps/v1 Deployment shop/web", image: "registry.example.org/web:1",
		setting: "v1 ConfigMap shop/settings", source: "apps/plain/settings.yaml",
		pruned: "apps/plain/old.yaml", orphan: "v1 ConfigMap shop/old",
		stays: []string{"v1 Namespace shop", "v1 Service shop/web", "v1 Secret shop/token", "rbac.authorization.k8s.io/v1 Role shop/reader", "batch/v1 CronJob shop/tick"},
	}
}

func deployment(namespace, image string) string {
	in := "{name: web}"
	if namespace != "" {
		in = "{namespace: " + namespace + ", name: web}"
	}
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: " + in + "\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n" +
		"    spec: {containers: [{name: web, image: \"" + image + "\", ports: [{containerPort: 80}], resources: {limits: {cpu: \"0.5\"}}}]}\n"
}

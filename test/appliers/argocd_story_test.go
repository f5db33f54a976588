package appliers

import (
	"context"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitward/gitward/api/v1alpha1"
)

func (a *application) client(u *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	return a.by.lab.client(a.by.dynamic("argocd-application-controller/v0.0.0"), u)
}

// argoFiles are three Applications of the three kinds of sources, each with
// another way of applying.
func argoFiles(url string) map[string]string {
	return filled(merged(chartFiles("argo-chart", "argo.helm.example.org"), map[string]string{
		"cluster/a-namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: argocd}\n",
		"cluster/directory.yaml": `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: directory, namespace: argocd, finalizers: [resources-finalizer.argocd.argoproj.io]}
spec:
  project: default
  source: {repoURL: "REPOSITORY", targetRevision: main, path: argo-directory, directory: {recurse: true}}
  destination: {server: "https://kubernetes.default.svc", namespace: argo-directory}
  syncPolicy:
    automated: {prune: true}
    syncOptions: [CreateNamespace=true]
    managedNamespaceMetadata: {labels: {team: shop}, annotations: {example.org/owner: ada}}
`,
		"cluster/kustomize.yaml": `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: kustomize, namespace: argocd}
spec:
  project: default
  source:
    repoURL: "REPOSITORY"
    targetRevision: main
    path: argo-kustomize
    kustomize: {namePrefix: pre-, images: ["registry.example.org/web:8"], commonLabels: {team: shop}}
  destination: {server: "https://kubernetes.default.svc", namespace: argo-kustomize}
  ignoreDifferences: [{group: apps, kind: Deployment, jsonPointers: [/spec/replicas]}]
  syncPolicy: {syncOptions: [CreateNamespace=true, ServerSideApply=true, RespectIgnoreDifferences=true]}
`,
		"cluster/chart.yaml": `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: chart, namespace: argocd}
spec:
  project: default
  source:
    repoURL: "REPOSITORY"
    targetRevision: main
    path: argo-chart
    helm: {releaseName: shop, valuesObject: {color: blue}, parameters: [{name: replicas, value: "4"}]}
  destination: {server: "https://kubernetes.default.svc", namespace: argo-chart}
  syncPolicy: {syncOptions: [CreateNamespace=true, Replace=true]}
`,
		"cluster/set.yaml": `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: teams, namespace: argocd}
spec:
  generators: [{list: {elements: [{team: red}]}}]
  template:
    metadata: {name: "team-{{team}}"}
    spec:
      project: default
      source: {repoURL: "REPOSITORY", targetRevision: main, path: "argo-teams/{{team}}"}
      destination: {server: "https://kubernetes.default.svc", namespace: argo-directory}
`,
		"argo-teams/red/settings.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: red}\ndata: {a: b}\n",
		"argo-directory/web.yaml":           deployment("web", "", "registry.example.org/web:1"),
		"argo-directory/settings.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {apple: red}\n",
		"argo-directory/secret.yaml":        "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {token: not a secret}\n",
		"argo-directory/deep/old.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\ndata: {a: b}\n",
		"argo-directory/deep/reader.yaml":   "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n",
		"argo-directory/deep/bind.yaml":     "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: reader}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}\nsubjects: [{kind: ServiceAccount, name: web}]\n",
		"argo-directory/deep/all.yaml":      "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: argo-directory}\nrules: [{apiGroups: [\"\"], resources: [nodes], verbs: [get]}]\n",
		"argo-directory/before.yaml":        "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: before-, annotations: {argocd.argoproj.io/hook: PreSync}}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: registry.example.org/job}]}}}\n",
		"argo-directory/after.yaml":         "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: after, annotations: {argocd.argoproj.io/hook: PostSync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation}}\ndata: {a: b}\n",
		"argo-kustomize/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [web.yaml, service.yaml]\nconfigMapGenerator:\n- name: generated\n  literals: [color=red]\n",
		"argo-kustomize/web.yaml":           deployment("web", "", "registry.example.org/web:0"),
		"argo-kustomize/service.yaml":       "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
	}), "REPOSITORY", url)
}

// TestArgoCD: Applications in Git, as Argo CD brings what they name to the
// cluster.
func TestArgoCD(t *testing.T) {
	l := newLab(t)
	l.put(permissiveCRD("argoproj.io", "Application", "applications", "Namespaced", "v1alpha1") + "---\n" +
		permissiveCRD("argoproj.io", "ApplicationSet", "applicationsets", "Namespaced", "v1alpha1"))
	job, controller, server := l.actor("system:serviceaccount:ci:deployer"), l.actor(argoController), l.actor(argoServer)
	sets := l.actor("system:serviceaccount:argocd:argocd-applicationset-controller")
	controller.program = "argocd-application-controller"
	tip := l.commit(argoFiles(l.repoURL()))
	l.trust(v1alpha1.Render{Path: "cluster"})
	l.noProblems()
	l.runsAs(job, "Applications", "apply", "--server-side", "-f", l.path("cluster"))
	directory := &application{by: controller, name: "directory", destination: "argo-directory", create: true, render: l.argoDirectory,
		labels: map[string]string{"team": "shop"}, annotations: map[string]string{"example.org/owner": "ada"}}
	kustomize := &application{by: controller, name: "kustomize", destination: "argo-kustomize", create: true, serverSide: true, render: l.argoKustomize}
	chart := &application{by: controller, name: "chart", destination: "argo-chart", create: true, replace: true, render: l.argoChart}
	for _, a := range []*application{directory, kustomize, chart} {
		l.chapter(a.name, func(*testing.T) { a.story(tip) })
	}
	l.chapter("a change, and what is pruned", func(*testing.T) { l.argoChange(directory, chart) })
	l.chapter("what it ignores stays", func(*testing.T) { l.argoIgnores(kustomize, job) })
	l.chapter("from one way of applying to another", func(*testing.T) { l.argoSwitch(directory, kustomize, chart) })
	l.chapter("an ApplicationSet", func(*testing.T) { l.argoSet(sets, controller) })
	l.chapter("its own writes", func(*testing.T) { l.argoWrites(controller, server) })
	l.chapter("refused", func(*testing.T) { l.argoAttacks(directory, controller, server, job) })
}

func (a *application) story(tip string) {
	a.runs("first sync", tip)
	a.runs("sync again", tip)
}

func (a *application) runs(what, revision string) {
	l := a.by.lab
	l.t.Helper()
	if err := a.sync(revision); err != nil {
		l.t.Errorf("%s of %s: %v", what, a.name, err)
	}
	a.by.tell(l.t, what+" of "+a.name)
}

func (l *lab) argoChange(directory, chart *application) {
	l.t.Helper()
	tip := l.commit(map[string]string{
		"argo-directory/settings.yaml": strings.ReplaceAll(l.files["argo-directory/settings.yaml"], "red", "green"),
		"argo-chart/values.yaml":       strings.ReplaceAll(l.files["argo-chart/values.yaml"], "tag: \"\"", "tag: \"9\""),
	}, "argo-directory/deep/old.yaml")
	directory.runs("sync of a change", tip)
	chart.runs("sync of a change", tip)
	old := ref("v1 ConfigMap argo-directory/old")
	l.check(directory.prune(old))
	directory.by.tell(l.t, "prune")
}

// argoSwitch turns server-side apply on and off.
func (l *lab) argoSwitch(directory, kustomize, chart *application) {
	l.t.Helper()
	tip := l.repo.Ref("refs/heads/main")
	directory.serverSide, kustomize.serverSide = true, false
	directory.runs("first server-side apply", tip)
	kustomize.runs("first client-side apply", tip)
	directory.serverSide, kustomize.serverSide = false, true
	directory.runs("client-side apply again", tip)
	kustomize.runs("server-side apply again", tip)
	chart.replace = false
	chart.runs("first client-side apply", tip)
	chart.runs("client-side apply again", tip)
	chart.replace = true
	chart.runs("replace again", tip)
}

// argoIgnores: with RespectIgnoreDifferences, Argo CD sends what is live at the
// paths that it ignores.
func (l *lab) argoIgnores(a *application, person *actor) {
	l.t.Helper()
	render := a.render
	defer func() { a.render = render }()
	sends := func(replicas string) {
		a.render = func() string { return strings.ReplaceAll(render(), "replicas: 2", "replicas: "+replicas) }
	}
	l.gated(false)
	sends("8")
	l.check(a.sync(l.repo.Ref("refs/heads/main")))
	_, err := person.kubectl("scale", "-n", a.destination, "deployment/pre-web", "--replicas=9")
	l.check(err)
	l.gated(true)
	a.by.forget()
	sends("9")
	a.runs("sync with the live value", l.repo.Ref("refs/heads/main"))
	sends("8")
	l.mustRefuse(a.by, attack{name: "another value at an ignored path", do: func(bool) error { return a.sync(l.repo.Ref("refs/heads/main")) },
		besides: "PATCH /api"})
}

// argoSet: the controller makes an Application of a set that Git declares, which
// is then synced.
func (l *lab) argoSet(sets, controller *actor) {
	l.t.Helper()
	set, err := l.get("argoproj.io/v1alpha1 ApplicationSet argocd/teams")
	l.check(err)
	generated := func(name, path string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
			"metadata": map[string]any{"name": name, "namespace": "argocd", "finalizers": []any{"resources-finalizer.argocd.argoproj.io"}, "ownerReferences": []any{map[string]any{"apiVersion": "argoproj.io/v1alpha1",
				"kind": "ApplicationSet", "name": "teams", "uid": string(set.GetUID()), "controller": true, "blockOwnerDeletion": true}}},
			"spec": map[string]any{"project": "default", "source": map[string]any{"repoURL": l.repoURL(), "targetRevision": "main", "path": path},
				"destination": map[string]any{"server": "https://kubernetes.default.svc", "namespace": "argo-directory"}}}}
	}
	create := func(name, path string, dry bool) error {
		u := generated(name, path)
		client, err := l.client(sets.dynamic("argocd-applicationset-controller/v0.0.0"), u)
		if err != nil {
			return err
		}
		options := metav1.CreateOptions{}
		if dry {
			options.DryRun = []string{metav1.DryRunAll}
		}
		_, err = client.Create(context.Background(), u, options)
		return err
	}
	l.refuses(sets,
		attack{name: "a generated Application with another source", do: func(dry bool) error { return create("team-red", "argo-directory", dry) }},
		attack{name: "an Application that the set does not generate", do: func(dry bool) error { return create("team-evil", "argo-teams/red", dry) }},
	)
	l.check(create("team-red", "argo-teams/red", false))
	sets.tell(l.t, "generated Application")
	team := &application{by: controller, name: "team-red", destination: "argo-directory", render: func() string { return l.files["argo-teams/red/settings.yaml"] }}
	team.runs("sync", l.repo.Ref("refs/heads/main"))
}

// argoDirectory is what Argo CD reads of a directory.
func (l *lab) argoDirectory() string {
	var all []string
	for _, name := range sorted(l.files) {
		if strings.HasPrefix(name, "argo-directory/") {
			all = append(all, l.files[name])
		}
	}
	return strings.Join(all, "---\n")
}

// argoKustomize does what `kustomize edit` does for the Application, to a copy.
func (l *lab) argoKustomize() string {
	const dir = "argo-kustomize"
	for name, text := range l.files {
		if strings.HasPrefix(name, dir+"/") {
			l.write(l.path("../edited/"+name), text)
		}
	}
	l.write(l.path("../edited/"+dir+"/kustomization.yaml"), l.files[dir+"/kustomization.yaml"]+
		"namePrefix: pre-\nimages: [{name: registry.example.org/web, newTag: \"8\"}]\ncommonLabels: {team: shop}\n")
	text, err := l.kustomize("../edited/" + dir)
	l.check(err)
	return text
}

// argoChart is `helm template` with the Application's values, hooks included.
func (l *lab) argoChart() string {
	chart, err := loader.Load(l.path("argo-chart"))
	l.check(err)
	i := action.NewInstall(action.NewConfiguration())
	i.DryRunStrategy, i.ReleaseName, i.Namespace, i.IncludeCRDs, i.Replace = action.DryRunClient, "shop", "argo-chart", true, true
	r, err := i.Run(chart, map[string]any{"color": "blue", "replicas": 4})
	l.check(err)
	rendered := r.(*releasev1.Release)
	text := rendered.Manifest
	for _, h := range rendered.Hooks {
		text += "\n---\n" + h.Manifest
	}
	return text
}

// argoWrites are those of Argo CD to the Application itself, which has no
// status subresource.
func (l *lab) argoWrites(controller, server *actor) {
	l.t.Helper()
	now := time.Now().UTC().Format(time.RFC3339)
	for _, w := range []struct {
		by   *actor
		text string
	}{
		{server, `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"normal"}}}`},
		{controller, `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":null}},"status":{"sync":{"status":"OutOfSync"},"health":{"status":"Healthy"},"reconciledAt":"` + now + `"}}`},
		{server, `{"operation":{"initiatedBy":{"username":"admin"},"sync":{"revision":"` + l.repo.Ref("refs/heads/main") + `","syncStrategy":{"hook":{}},"syncOptions":["CreateNamespace=true"]},"retry":{"limit":2}}}`},
		{controller, `{"operation":null,"status":{"operationState":{"phase":"Succeeded","startedAt":"` + now + `"},"sync":{"status":"Synced"}}}`},
	} {
		l.check(patchApplication(w.by, "directory", w.text, metav1.PatchOptions{}))
		w.by.tell(l.t, "write by "+w.by.user)
	}
}

func patchApplication(by *actor, name, text string, options metav1.PatchOptions) error {
	client, err := by.lab.client(by.dynamic(by.user[strings.LastIndex(by.user, ":")+1:]), ref("argoproj.io/v1alpha1 Application argocd/"+name))
	if err != nil {
		return err
	}
	_, err = client.Patch(context.Background(), name, types.MergePatchType, []byte(text), options)
	return err
}

// argoAttacks go through Argo CD, with all that it is allowed to do.
func (l *lab) argoAttacks(a *application, controller, server, person *actor) {
	l.t.Helper()
	local := func(name string, change func(*unstructured.Unstructured), of string) attack {
		u := a.objects(l.t, l.files[of])[0]
		change(u)
		return l.applyAs(a.by, name, u)
	}
	image := func(u *unstructured.Unstructured) {
		text := strings.ReplaceAll(string(must(u.MarshalJSON())), "web:1", "web:evil")
		*u = *parse(l.t, text)[0]
	}
	l.refuses(controller,
		local("content of app sync --local", image, "argo-directory/web.yaml"),
		local("the tracking id of another application", func(u *unstructured.Unstructured) { a.track(u, "chart") }, "argo-directory/settings.yaml"),
		local("an object of one application in another's namespace", func(u *unstructured.Unstructured) {
			u.SetNamespace("argo-chart")
			a.track(u, a.name)
		}, "argo-directory/settings.yaml"),
		local("a generated hook with another image", func(u *unstructured.Unstructured) {
			u.SetName("before-0123456-presync-1700000099")
			u.SetFinalizers([]string{hookFinalizer})
			*u = *parse(l.t, strings.ReplaceAll(string(must(u.MarshalJSON())), "example.org/job", "example.org/evil"))[0]
		}, "argo-directory/before.yaml"),
		edit(controller, "a spec that the controller changes", `{"spec":{"source":{"path":"elsewhere"}}}`),
	)
	l.refuses(server,
		edit(server, "an operation with manifests (app sync --local)", `{"operation":{"sync":{"manifests":["{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}"]}}}`),
		edit(server, "an operation with a source of its own", `{"operation":{"sync":{"source":{"repoURL":"`+l.repoURL()+`","path":"argo-directory","targetRevision":"evil"}}}}`),
		edit(server, "parameters by app set", `{"spec":{"source":{"helm":{"parameters":[{"name":"image.tag","value":"evil"}]}}}}`),
		attack{name: "a resource patched in the user interface", do: func(dry bool) error {
			_, err := server.kubectl(dryly(dry, "patch", "-n", "argo-directory", "configmap/settings", "--type=merge", "-p", `{"data":{"apple":"rotten"}}`)...)
			return err
		}},
	)
	l.refuses(person,
		edit(person, "an Application edited by hand", `{"spec":{"source":{"targetRevision":"evil"}}}`),
		edit(person, "a status written by hand", `{"status":{"sync":{"status":"Synced"},"history":[]}}`),
	)
}

func dryly(dry bool, args ...string) []string {
	if dry {
		return append(args, "--dry-run=server")
	}
	return args
}

// applyAs is client-side apply as Argo CD does it.
func (l *lab) applyAs(by *actor, name string, u *unstructured.Unstructured) attack {
	text, err := u.MarshalJSON()
	l.check(err)
	file := l.beside("attacks/"+strings.ReplaceAll(name, " ", "-")+".json", string(text))
	return attack{name: name, do: func(dry bool) error {
		_, err := by.kubectl(dryly(dry, "apply", "--field-manager="+argoManager, "-f", file)...)
		return err
	}}
}

func edit(by *actor, name, text string) attack {
	return attack{name: name, do: func(dry bool) error {
		options := metav1.PatchOptions{}
		if dry {
			options.DryRun = []string{metav1.DryRunAll}
		}
		return patchApplication(by, "directory", text, options)
	}}
}

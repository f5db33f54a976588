package appliers

import (
	"testing"

	"github.com/gitward/gitward/api/v1alpha1"
)

// TestArgoCDMarks: an Argo CD that is set to mark objects otherwise, in its own
// ConfigMap in Git.
func TestArgoCDMarks(t *testing.T) {
	l := newLab(t)
	l.put(permissiveCRD("argoproj.io", "Application", "applications", "Namespaced", "v1alpha1"))
	controller := l.actor(argoController)
	controller.program = "argocd-application-controller"
	l.namespace("argo-marks")
	l.commit(map[string]string{
		"cluster/settings.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm, namespace: argocd}\n" +
			"data: {application.resourceTrackingMethod: annotation+label, installationID: here}\n",
		"cluster/application.yaml": `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: marks, namespace: argocd}
spec:
  project: default
  source: {repoURL: "` + l.repoURL() + `", targetRevision: main, path: marks}
  destination: {server: "https://kubernetes.default.svc", namespace: argo-marks}
`,
		"marks/web.yaml": deployment("web", "", "registry.example.org/web:1"),
		"marks/all.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: argo-marks}\nrules: []\n",
	})
	l.trust(v1alpha1.Render{Path: "cluster"})
	l.noProblems()
	a := &application{by: controller, name: "marks", destination: "argo-marks", label: "app.kubernetes.io/instance", installation: "here",
		render: func() string { return l.files["marks/web.yaml"] + "---\n" + l.files["marks/all.yaml"] }}
	tip := l.repo.Ref("refs/heads/main")
	a.runs("first sync", tip)
	a.runs("sync again", tip)
	other := *a
	other.installation = "elsewhere"
	l.refuses(controller,
		l.applyAs(controller, "the mark of another installation", other.objects(t, l.files["marks/web.yaml"])[0]),
		l.applyAs(controller, "an object that another Application marks", func() *application { b := *a; b.name = "other"; return &b }().objects(t, l.files["marks/web.yaml"])[0]),
	)
}

package argocd

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// settings are those of Argo CD itself, as far as Git declares them: the
// ConfigMap argocd-cm. What it does not say is Argo CD's default.
type settings struct {
	tracking, label, installation string
}

// readSettings reads the keys of util/settings/settings.go.
func readSettings(src render.Sources) (settings, error) {
	data, err := configMap(src, "argocd-cm")
	return settings{tracking: data["application.resourceTrackingMethod"], label: data["application.instanceLabelKey"],
		installation: data["installationID"]}, err
}

func configMap(src render.Sources, name string) (map[string]string, error) {
	raw, err := src.Declared(gitindex.Ref{Kind: "ConfigMap", Namespace: ControlPlane, Name: name})
	if err != nil || raw == nil {
		return nil, err
	}
	var object struct{ Data map[string]string }
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("reading the ConfigMap %s/%s: %w", ControlPlane, name, err)
	}
	return object.Data, nil
}

// applier is what Argo CD marks the Application's objects with. It sends what
// Helm renders without Helm's own marks.
func (s settings) applier(app *Application) *gitindex.Applier {
	a := &gitindex.Applier{ArgoApplication: app.instance(), ArgoNamespace: app.Spec.Destination.Namespace, ArgoInstallationID: s.installation}
	if s.tracking == "label" || s.tracking == "annotation+label" {
		a.ArgoInstanceLabel = s.label
		if a.ArgoInstanceLabel == "" {
			a.ArgoInstanceLabel = "app.kubernetes.io/instance"
		}
	}
	if app.option("CreateNamespace=true") {
		a.CreatesNamespace = app.Spec.Destination.Namespace
		a.NamespaceLabels, a.NamespaceAnnotations = app.namespaceMetadata()
	}
	return a
}

// namespaceMetadata is what a managed namespace is given. Argo CD applies that
// on the server's side and says so in the namespace: controller/sync_namespace.go.
func (a *Application) namespaceMetadata() (labels, annotations map[string]string) {
	if a.Spec.SyncPolicy == nil || a.Spec.SyncPolicy.ManagedNamespaceMetadata == nil {
		return nil, nil
	}
	given := a.Spec.SyncPolicy.ManagedNamespaceMetadata
	annotations = map[string]string{}
	maps.Copy(annotations, given.Annotations)
	annotations["argocd.argoproj.io/sync-options"] = "ServerSideApply=true"
	return maps.Clone(given.Labels), annotations
}

// newGlobbing reports whether the ApplicationSet controller is set to find
// files by globs in which a star stops at a slash.
func newGlobbing(src render.Sources) (bool, error) {
	data, err := configMap(src, "argocd-cmd-params-cm")
	return slices.Contains([]string{"true", "1"}, data["applicationsetcontroller.enable.new.git.file.globbing"]), err
}

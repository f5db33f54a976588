package gitindex

import "strings"

// Decorations are the labels and annotations that the applier sets on an object,
// by "labels" or "annotations" and by key. It sets them over whatever Git has
// there. A hook, and an object that no release owns (bare), carry no marks of
// Helm's.
func (a *Applier) Decorations(ref Ref, hook, bare bool) map[string]map[string]string {
	labels, annotations := map[string]string{}, map[string]string{}
	if a.FluxName != "" {
		labels["kustomize.toolkit.fluxcd.io/name"] = a.FluxName
		labels["kustomize.toolkit.fluxcd.io/namespace"] = a.FluxNamespace
	}
	if a.FluxHelmName != "" {
		labels["helm.toolkit.fluxcd.io/name"] = a.FluxHelmName
		labels["helm.toolkit.fluxcd.io/namespace"] = a.FluxHelmNamespace
	}
	if a.HelmRelease != "" && !hook && !bare {
		labels["app.kubernetes.io/managed-by"] = "Helm"
		annotations[HelmReleaseName] = a.HelmRelease
		annotations["meta.helm.sh/release-namespace"] = a.HelmNamespace
	}
	if a.ArgoApplication != "" {
		a.argoTracks(labels, annotations, ref)
	}
	return map[string]map[string]string{"labels": labels, "annotations": annotations}
}

// HelmReleaseName is the annotation by which Helm knows the release of an object.
const HelmReleaseName = "meta.helm.sh/release-name"

// ArgoTracking is the annotation by which Argo CD finds its objects.
const ArgoTracking = "argocd.argoproj.io/tracking-id"

// argoTracks adds what Argo CD finds its objects by: an annotation, or a label, or
// both (argo-cd, util/argo/resource_tracking.go). A cluster-scoped object has the
// destination's namespace in its tracking id.
func (a *Applier) argoTracks(labels, annotations map[string]string, ref Ref) {
	if a.ArgoInstanceLabel != "" {
		labels[a.ArgoInstanceLabel] = labelValue(a.ArgoApplication)
	}
	if ref.Namespace == "" {
		ref.Namespace = a.ArgoNamespace
	}
	annotations[ArgoTracking] = trackingID(a.ArgoApplication, ref)
	if a.ArgoInstallationID != "" {
		annotations["argocd.argoproj.io/installation-id"] = a.ArgoInstallationID
	}
}

// labelValue cuts a name to what a label may hold, as Argo CD does.
func labelValue(name string) string {
	const most = 63
	if len(name) <= most {
		return name
	}
	return strings.TrimRight(name[:most], "-_.")
}

// trackingID is Argo CD's: <application>:<group>/<kind>:<namespace>/<name>.
func trackingID(app string, ref Ref) string {
	return app + ":" + ref.Group + "/" + ref.Kind + ":" + ref.Namespace + "/" + ref.Name
}

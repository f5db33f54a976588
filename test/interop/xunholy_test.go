package interop

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestFluxXunholy is xunholy/k8s-gitops, somebody's whole cluster. Its source is
// an OCI artifact, filled from kubernetes/, and parts of that which
// source-watcher cuts out; here that directory is the repository, and each
// Kustomization takes its path of it: the same content. What SOPS encrypted is
// replaced, in the same keys, by what nobody needs to keep secret, for the key
// to it is not in Git. Its HelmReleases are objects that nobody acts on.
func TestFluxXunholy(t *testing.T) {
	tour{name: "xunholy-k8s-gitops", cluster: "cluster-00", kinds: xunholyKinds(), change: xunholy, count: 69,
		unable: map[string]string{
			"game-servers/azerothcore":       "a file that is not in the corpus",
			"game-servers/emberstone-portal": "a file that is not in the corpus",
			"home-system/sabnzbd":            "a file that is not in the corpus",
		},
		// The first Kustomization has the directories of three others in its own;
		// a dashboard is in two charts' directories.
		contested: []string{"configmaps flux-system/kustomization-mutating-webhook-values-tfbthh8bf6", "configmaps flux-system/flux-operator-values-8f6kgg7c6m",
			"configmaps flux-system/flux-instance-values-c7mb666m75", "helmreleases.helm.toolkit.fluxcd.io flux-system/kustomize-mutating-webhook",
			"resourcesets.fluxcd.controlplane.io flux-system/flux-instance", "resourcesets.fluxcd.controlplane.io flux-system/flux-operator",
			"grafanadashboards.grafana.integreatly.org network-system/cloudflare-tunnels"},
		objects: []string{"helm.toolkit.fluxcd.io/v2 HelmRelease observability/grafana", fluxKustomization + "home-system/sonarr",
			"v1 Secret flux-system/cluster-secrets"},
	}.take(t)
}

var (
	xunholySource    = regexp.MustCompile(`(?m)^( +)kind: (?:OCIRepository|ExternalArtifact)\n +name: \S+(?:\n +namespace: flux-system)?$`)
	xunholyEncrypted = regexp.MustCompile(`(?m)^sops:$`)
	xunholyHealth    = regexp.MustCompile(`(?m)^  (?:healthChecks|healthCheckExprs):\n(?:    .*\n)+`)
)

func xunholy(files map[string]string) {
	kubernetes := map[string]string{}
	for name, text := range files {
		delete(files, name)
		if inside, found := strings.CutPrefix(name, "kubernetes/"); found {
			kubernetes[inside] = text
		}
	}
	for name, text := range kubernetes {
		if xunholyEncrypted.MatchString(text) {
			text = decrypted(text)
		}
		if strings.HasSuffix(name, "/ks.yaml") {
			text = xunholySource.ReplaceAllString(text, "${1}kind: GitRepository\n${1}name: flux-system\n${1}namespace: flux-system")
			text = xunholyHealth.ReplaceAllString(text, "")
			text = strings.NewReplacer("  wait: true\n", "  wait: false\n", "interval: 30m\n", "interval: 20s\n", "retryInterval: 1m\n", "retryInterval: 5s\n").Replace(text)
		}
		// Kubernetes 1.37 serves no older version unless it is asked to.
		files[name] = strings.ReplaceAll(text, "admissionregistration.k8s.io/v1beta1\n", "admissionregistration.k8s.io/v1\n")
	}
}

// decrypted is a file as its owner would see it, with other values.
func decrypted(text string) string {
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		panic(err)
	}
	delete(object, "sops")
	standIn := "stand-in"
	if object["kind"] == "Secret" && object["data"] != nil {
		standIn = base64.StdEncoding.EncodeToString([]byte(standIn))
	}
	return string(must(yaml.Marshal(replaceEncrypted(object, standIn))))
}

func replaceEncrypted(v any, standIn string) any {
	switch x := v.(type) {
	case map[string]any:
		for key := range x {
			x[key] = replaceEncrypted(x[key], standIn)
		}
	case []any:
		for i := range x {
			x[i] = replaceEncrypted(x[i], standIn)
		}
	case string:
		if strings.HasPrefix(x, "ENC[") {
			return standIn
		}
	}
	return v
}

// xunholyKinds are those of its objects that neither Kubernetes nor the two
// controllers define.
func xunholyKinds() [][5]string {
	out := [][5]string{helmRelease}
	for scope, kinds := range map[string]string{
		namespaced: `cert-manager.io/v1 Certificate
external-secrets.io/v1 ExternalSecret
externaldns.k8s.io/v1alpha1 DNSEndpoint
fluxcd.controlplane.io/v1 ResourceSet
fluxcd.controlplane.io/v1 ResourceSetInputProvider
gateway.envoyproxy.io/v1alpha1 BackendTrafficPolicy
gateway.envoyproxy.io/v1alpha1 ClientTrafficPolicy
gateway.envoyproxy.io/v1alpha1 EnvoyProxy
gateway.envoyproxy.io/v1alpha1 SecurityPolicy
gateway.networking.k8s.io/v1 Gateway
gateway.networking.k8s.io/v1 HTTPRoute
gateway.networking.k8s.io/v1alpha2 TCPRoute
gateway.networking.k8s.io/v1alpha2 UDPRoute
gateway.networking.k8s.io/v1beta1 ReferenceGrant
grafana.integreatly.org/v1beta1 Grafana
grafana.integreatly.org/v1beta1 GrafanaDashboard
grafana.integreatly.org/v1beta1 GrafanaDatasource
k8s.cni.cncf.io/v1 NetworkAttachmentDefinition
monitoring.coreos.com/v1 PodMonitor
monitoring.coreos.com/v1 Probe
monitoring.coreos.com/v1 PrometheusRule
monitoring.coreos.com/v1 ServiceMonitor
monitoring.coreos.com/v1alpha1 AlertmanagerConfig
monitoring.coreos.com/v1alpha1 ScrapeConfig
notification.toolkit.fluxcd.io/v1 Receiver
notification.toolkit.fluxcd.io/v1beta3 Alert
notification.toolkit.fluxcd.io/v1beta3 Provider
observability.giantswarm.io/v1alpha2 Silence
source.extensions.fluxcd.io/v1beta1 ArtifactGenerator
talos.dev/v1alpha1 ServiceAccount
volsync.backube/v1alpha1 KopiaMaintenance
volsync.backube/v1alpha1 ReplicationDestination
volsync.backube/v1alpha1 ReplicationSource
xunholy.io/v1alpha1 GitOpsCluster`,
		clusterWide: `apiextensions.crossplane.io/v1 CompositeResourceDefinition
apiextensions.crossplane.io/v1 Composition
cert-manager.io/v1 ClusterIssuer
cilium.io/v2alpha1 CiliumL2AnnouncementPolicy
cilium.io/v2alpha1 CiliumLoadBalancerIPPool
external-secrets.io/v1 ClusterSecretStore
gateway.networking.k8s.io/v1 GatewayClass
gcp.upbound.io/v1beta1 ProviderConfig
kguardian.dev/v1alpha1 AuditClusterNetworkPolicy
pkg.crossplane.io/v1 Provider`,
	} {
		for line := range strings.Lines(kinds) {
			apiVersion, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
			group, version, _ := strings.Cut(apiVersion, "/")
			plural := strings.ToLower(kind) + "s"
			if stem, found := strings.CutSuffix(plural, "ys"); found && !strings.HasSuffix(stem, "a") {
				plural = stem + "ies"
			}
			out = append(out, [5]string{group, version, kind, plural, scope})
		}
	}
	return out
}

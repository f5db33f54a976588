package interop

import (
	"regexp"
	"strings"
	"testing"

	"github.com/gitward/gitward/api/v1alpha1"
)

const (
	namespaced  = "Namespaced"
	clusterWide = "Cluster"
)

// govuk is alphagov/govuk-helm-charts as its integration cluster: a chart of
// Applications, most of them of one generic chart. Argo CD's namespace is
// "argocd" here, the repository this one; and since the files that name images
// are not in the corpus, each is "v1".
var govuk = argoTour{name: "govuk-helm-charts", able: 60,
	waits: map[string]string{"frontend": "the address of an Ingress, before a hook"},
	kinds: [][5]string{
		{"external-secrets.io", "v1", "ExternalSecret", "externalsecrets", namespaced},
		{"external-secrets.io", "v1", "ClusterExternalSecret", "clusterexternalsecrets", clusterWide},
		{"monitoring.coreos.com", "v1", "PodMonitor", "podmonitors", namespaced},
		{"kyverno.io", "v1", "Policy", "policies", namespaced},
		{"argoproj.io", "v1alpha1", "WorkflowTemplate", "workflowtemplates", namespaced},
		{"argoproj.io", "v1alpha1", "WorkflowEventBinding", "workfloweventbindings", namespaced},
	},
	change: func(l *lab, files map[string]string) {
		for name, text := range files {
			text = strings.ReplaceAll(text, "git@github.com/alphagov/govuk-helm-charts", l.repoURL())
			text = strings.ReplaceAll(text, "argoNamespace: cluster-services", "argoNamespace: "+argoNamespace)
			files[name] = strings.ReplaceAll(text, "namespace: cluster-services", "namespace: "+argoNamespace)
		}
		for _, m := range regexp.MustCompile(`(?m)^ +- name: ([a-z0-9-]+)$|^ +repoName: ([a-z0-9-]+)$`).FindAllStringSubmatch(files["charts/app-config/values-integration.yaml"], -1) {
			files["charts/app-config/image-tags/integration/"+m[1]+m[2]] = "image_tag: v1\n"
		}
		files["clusters/test/root.yaml"] = application(l, "root", "clusters/test", argoNamespace)
		files["clusters/test/bootstrap.yaml"] = applicationOf(l, "argo-bootstrap", argoNamespace,
			"path: charts/argo-bootstrap\n    helm: {values: \"govukEnvironment: integration\"}")
	},
	objects: []string{"apps/v1 Deployment apps/account-api", "batch/v1 Job apps/account-api-dbmigrate", "v1 ConfigMap apps/govuk-apps-env",
		"argoproj.io/v1alpha1 AppProject argocd/govuk"},
	edits: map[string][]string{
		"apps/v1 Deployment apps/account-api": {`{"spec":{"template":{"spec":{"hostNetwork":true}}}}`, `{"spec":{"replicas":9}}`},
		"v1 ConfigMap apps/govuk-apps-env":    {`{"data":{"AWS_REGION":"elsewhere"}}`},
	},
	prune: func(map[string]string) (map[string]string, []string) {
		return nil, []string{"charts/licensify/templates/logging-configmap.yaml"}
	},
	orphan: "v1 ConfigMap licensify/licensify-logging-config",
}

// TestArgoGovUK and TestArgoGovUKServerSide play the same repository.
func TestArgoGovUK(t *testing.T)           { govuk.take(t, false) }
func TestArgoGovUKServerSide(t *testing.T) { govuk.take(t, true) }

// infra is redhat-appstudio/infra-deployments as its public staging cluster,
// with the ApplicationSets' own controller: an Application of a kustomization of
// ApplicationSets, whose generators merge clusters and lists. Most of its
// components are not in the corpus, and most of those that are have a base
// elsewhere; their parts that have none are Applications of the test's own.
var infra = argoTour{name: "infra-deployments", sets: true, able: 13,
	kinds: [][5]string{
		{"external-secrets.io", "v1", "ExternalSecret", "externalsecrets", namespaced},
		{"external-secrets.io", "v1", "ClusterSecretStore", "clustersecretstores", clusterWide},
		{"monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors", namespaced},
	},
	change: func(l *lab, files map[string]string) {
		for name, text := range files {
			text = strings.ReplaceAll(text, "https://github.com/redhat-appstudio/infra-deployments.git", l.repoURL())
			files[name] = strings.ReplaceAll(text, "namespace: konflux-public-staging", "namespace: "+argoNamespace)
		}
		files["clusters/test/root.yaml"] = application(l, "root", "clusters/test", argoNamespace)
		files["clusters/test/sets.yaml"] = applicationOf(l, "all-application-sets", argoNamespace, "path: argo-cd-apps/overlays/konflux-public-staging")
		// The cluster's own Secret, by which generators find it; the Origin says
		// the same, for Gitward reads no cluster's Secrets.
		labels := map[string]string{"argocd.argoproj.io/secret-type": "cluster", "appstudio.redhat.com/member-cluster": "true"}
		files["clusters/test/cluster.yaml"] = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: local-cluster\n  namespace: argocd\n  labels: {argocd.argoproj.io/secret-type: cluster, appstudio.redhat.com/member-cluster: \"true\"}\n" +
			"stringData: {name: stone-stg-rh01, server: \"https://kubernetes.default.svc\", config: '{\"tlsClientConfig\":{\"insecure\":false}}'}\n"
		l.cluster = &v1alpha1.Cluster{ArgoCD: []v1alpha1.ArgoCluster{{Name: "stone-stg-rh01", Server: "https://kubernetes.default.svc", Labels: labels}}}
		for _, part := range infraParts {
			name := strings.ReplaceAll(strings.TrimPrefix(part, "components/"), "/", "-")
			files["clusters/test/parts/"+name+".yaml"] = strings.Replace(applicationOf(l, name, "parts", "path: "+part),
				"    automated:", "    syncOptions:\n    - CreateNamespace=true\n    automated:", 1)
		}
		for _, name := range []string{"release-service", "application-service", "build-service", "konflux-dummy-deploy"} {
			files["clusters/test/namespaces/"+name+".yaml"] = "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n"
		}
	},
	unable: map[string]string{
		"components/build-service/staging/base":        "a base elsewhere",
		"components/dummy-deployment/overlays/staging": "a base elsewhere",
		"components/enterprise-contract":               "a base elsewhere",
		"components/has/staging":                       "a base elsewhere",
		"components/release/staging":                   "a base elsewhere",
		"components/trust-manager/staging":             "a chart elsewhere",
	},
	objects: []string{"apps/v1 Deployment namespace-lister/namespace-lister", "external-secrets.io/v1 ClusterSecretStore appsre-stonesoup-vault",
		argoApplication + "namespace-lister-stone-stg-rh01"},
	edits: map[string][]string{
		"apps/v1 Deployment namespace-lister/namespace-lister":        {`{"spec":{"template":{"spec":{"hostNetwork":true}}}}`, `{"spec":{"replicas":9}}`},
		"argoproj.io/v1alpha1 ApplicationSet argocd/namespace-lister": {`{"spec":{"template":{"spec":{"source":{"repoURL":"https://git.example.org/evil.git"}}}}}`},
	},
	prune: func(files map[string]string) (map[string]string, []string) {
		const dir = "components/openshift-gitops/cluster-rbac/"
		kept := strings.Replace(files[dir+"kustomization.yaml"], "- argocd-server-clusterrolebinding.yaml\n", "", 1)
		return map[string]string{dir + "kustomization.yaml": kept}, []string{dir + "argocd-server-clusterrolebinding.yaml"}
	},
	orphan: "rbac.authorization.k8s.io/v1 ClusterRoleBinding appstudio-openshift-gitops-argocd-server",
}

// infraParts are directories of components that need nothing from elsewhere.
var infraParts = []string{"components/openshift-gitops/cluster-rbac", "components/release/base", "components/build-service/base/rbac",
	"components/build-service/base/external-secrets", "components/has/base/rbac", "components/has/base/external-secrets",
	"components/has/base/argocd-roles", "components/repository-validator/development", "components/dummy-deployment/base"}

// TestArgoInfra and TestArgoInfraServerSide play the same repository.
func TestArgoInfra(t *testing.T)           { infra.take(t, false) }
func TestArgoInfraServerSide(t *testing.T) { infra.take(t, true) }

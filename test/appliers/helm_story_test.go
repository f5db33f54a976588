package appliers

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/api/v1alpha1"
)

// TestHelm: a job installs, upgrades, rolls back and uninstalls charts of the
// repository with Helm's own action library.
func TestHelm(t *testing.T) {
	l := newLab(t)
	job := l.actor("system:serviceaccount:ci:deployer")
	l.commit(merged(chartFiles("charts/server", "server.helm.example.org"), chartFiles("charts/client", "client.helm.example.org"),
		chartFiles("charts/made", "made.helm.example.org"),
		// The label is Helm's own: without it, --create-namespace says something
		// else than Git.
		map[string]string{"made/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: helm-made, labels: {name: helm-made}}\n",
			"namespace/client.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: helm-client}\n",
			"namespace/server.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: helm-server}\n"}))
	l.trust(
		v1alpha1.Render{Path: "namespace", Type: v1alpha1.RenderPlain},
		v1alpha1.Render{Path: "charts/server", Type: v1alpha1.RenderHelm, Namespace: "helm-server", Helm: &v1alpha1.HelmRender{ReleaseName: "ssa"}},
		v1alpha1.Render{Path: "charts/client", Type: v1alpha1.RenderHelm, Namespace: "helm-client", Helm: &v1alpha1.HelmRender{ReleaseName: "csa"}},
		v1alpha1.Render{Path: "made", Type: v1alpha1.RenderPlain},
		v1alpha1.Render{Path: "charts/made", Type: v1alpha1.RenderHelm, Namespace: "helm-made"},
	)
	l.noProblems()
	l.runsAs(job, "namespaces", "apply", "-f", l.path("namespace"))
	server := release{by: job, chart: "charts/server", name: "ssa", namespace: "helm-server", manager: "helm", serverSide: true}
	client := release{by: job, chart: "charts/client", name: "csa", namespace: "helm-client", manager: "helm"}
	l.chapter("server-side apply", func(*testing.T) { l.releaseStory(server) })
	l.chapter("client-side apply", func(*testing.T) { l.releaseStory(client) })
	l.chapter("from one to the other", func(*testing.T) { l.switches(client) })
	made := release{by: job, chart: "charts/made", name: "made", namespace: "helm-made", manager: "helm", serverSide: true, create: true}
	l.chapter("create the namespace", func(*testing.T) { made.runs("install", made.install) })
	l.chapter("refused", func(*testing.T) { l.helmAttacks(server) })
	l.chapter("uninstall", func(*testing.T) { l.uninstalls(server) })
}

func (l *lab) releaseStory(r release) {
	l.t.Helper()
	r.runs("install", r.install)
	r.runs("upgrade without a change", r.upgrade)
	values := r.chart + "/values.yaml"
	l.commit(map[string]string{values: strings.NewReplacer("red", "green", "extra: true", "extra: false").Replace(l.files[values])})
	r.runs("upgrade", r.upgrade)
	if l.exists("v1 ConfigMap " + r.namespace + "/" + r.name + "-extra") {
		l.t.Error("what the chart has no more is still there")
	}
	r.runs("rollback within the lag", func() error { return r.rollback(2) })
	r.runs("upgrade after it", r.upgrade)
}

// switches upgrades by server-side apply what was applied client side, and
// back.
func (l *lab) switches(r release) {
	l.t.Helper()
	r.serverSide = true
	r.runs("upgrade by server-side apply", r.upgrade)
	r.serverSide = false
	r.runs("upgrade by client-side apply", r.upgrade)
}

// uninstalls takes the chart out of Git, and then out of the cluster.
func (l *lab) uninstalls(r release) {
	l.t.Helper()
	if err := r.uninstall(); err == nil {
		l.t.Error("what Git has is uninstalled")
	}
	r.by.forget()
	var gone []string
	for _, name := range sorted(l.files) {
		if strings.HasPrefix(name, r.chart+"/templates/") {
			gone = append(gone, name)
		}
	}
	l.commit(nil, gone...)
	r.runs("uninstall", r.uninstall)
	if l.exists("apps/v1 Deployment " + r.namespace + "/" + r.name) {
		l.t.Error("it is still there")
	}
}

// helmAttacks are what Git does not have. Without the gate they succeed, and
// leave a revision behind that Git never had.
func (l *lab) helmAttacks(r release) {
	l.t.Helper()
	set := r.with("image", map[string]any{"tag": "evil"})
	other := r
	other.name = "other"
	l.gated(false)
	l.check(set.upgrade())
	foreign := l.revision(r)
	l.check(r.upgrade())
	l.check(r.rollback(foreign))
	l.check(other.install())
	l.check(other.uninstall())
	l.gated(true)
	r.by.forget()
	r.runs("upgrade, which repairs", r.upgrade)
	good := l.revision(r)
	l.mustRefuse(r.by,
		attack{name: "--set beside Git", do: func(bool) error { return set.upgrade() }, besides: "DELETE /api/v1/namespaces/helm-server/secrets/sh.helm.release.v1.ssa."},
		attack{name: "another release name", do: func(bool) error { return other.install() }, besides: "PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets"},
		attack{name: "rollback to a revision that Git never had", do: func(bool) error { return r.rollback(foreign) }},
	)
	l.refuses(r.by,
		attack{name: "a forged release Secret", do: func(dry bool) error { return l.forge(r, good, good+1, dry) }},
		attack{name: "a forged change of a release Secret", do: func(dry bool) error { return l.forge(r, good, good, dry) }},
	)
	r.runs("upgrade after the attacks", r.upgrade)
}

// revision is the release's newest.
func (l *lab) revision(r release) int {
	l.t.Helper()
	list, err := l.kube.CoreV1().Secrets(r.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "owner=helm,name=" + r.name})
	l.check(err)
	newest := 0
	for _, s := range list.Items {
		var n int
		if _, err := fmt.Sscanf(s.Name, "sh.helm.release.v1."+r.name+".v%d", &n); err != nil {
			l.t.Fatal(err)
		}
		newest = max(newest, n)
	}
	return newest
}

// forge writes a release Secret whose manifest Git does not have: as a new
// revision, or over the one that there is.
func (l *lab) forge(r release, from, to int, dry bool) error {
	l.t.Helper()
	ctx := context.Background()
	var dryRun []string
	if dry {
		dryRun = []string{metav1.DryRunAll}
	}
	name := func(n int) string { return fmt.Sprintf("sh.helm.release.v1.%s.v%d", r.name, n) }
	s, err := l.kube.CoreV1().Secrets(r.namespace).Get(ctx, name(from), metav1.GetOptions{})
	l.check(err)
	stored := unpack(l.t, s.Data["release"])
	stored["manifest"] = strings.ReplaceAll(fmt.Sprint(stored["manifest"]), "registry.example.org/web:7", "registry.example.org/web:evil")
	stored["version"] = to
	s.Data["release"] = pack(l.t, stored)
	client := must(kubernetesFor(r.by, "Helm/4.3.1"))
	if from == to {
		_, err = client.CoreV1().Secrets(r.namespace).Update(ctx, s, metav1.UpdateOptions{DryRun: dryRun})
		return err
	}
	s.ObjectMeta = metav1.ObjectMeta{Name: name(to), Labels: s.Labels}
	s.Labels["version"] = fmt.Sprint(to)
	_, err = client.CoreV1().Secrets(r.namespace).Create(ctx, s, metav1.CreateOptions{DryRun: dryRun})
	return err
}

// unpack reads a release as Helm stores it: JSON, compressed, in base64.
func unpack(t testing.TB, data []byte) map[string]any {
	t.Helper()
	compressed, err := base64.StdEncoding.DecodeString(string(data))
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func pack(t testing.TB, stored map[string]any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := json.NewEncoder(w).Encode(stored); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(b.Bytes()))
}

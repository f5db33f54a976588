package appliers

import (
	"bytes"
	"fmt"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/postrenderer"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// release is one Helm release of a chart in the checkout, and how it is
// applied.
type release struct {
	by              *actor
	chart           string // path in the repository
	name, namespace string
	storage         string // the namespace of the release's own Secrets; empty: the release's
	manager         string // "helm", or "helm-controller"
	serverSide      bool
	create          bool // the namespace
	values          map[string]any
	post            postrenderer.PostRenderer
}

// configuration is that of Helm's actions. The manager is a global of Helm's.
func (r release) configuration() (*action.Configuration, error) {
	kube.ManagedFieldsManager = r.manager
	flags := r.by.flags("Helm/4.3.1")
	namespace := r.namespace
	flags.Namespace = &namespace
	c := action.NewConfiguration()
	if err := c.Init(flags, r.namespace, "secret"); err != nil || r.storage == "" {
		return c, err
	}
	client, err := kubernetesFor(r.by, "helm-controller/v1.6.3")
	if err != nil {
		return nil, err
	}
	c.Releases = storage.Init(driver.NewSecrets(client.CoreV1().Secrets(r.storage)))
	return c, nil
}

// install is `helm install`.
func (r release) install() error {
	c, err := r.configuration()
	if err != nil {
		return err
	}
	chart, err := loader.Load(r.by.lab.path(r.chart))
	if err != nil {
		return err
	}
	i := action.NewInstall(c)
	i.ReleaseName, i.Namespace, i.CreateNamespace = r.name, r.namespace, r.create
	i.ServerSideApply, i.ForceConflicts, i.PostRenderer = r.serverSide, r.serverSide, r.post
	i.WaitStrategy, i.Timeout = kube.HookOnlyStrategy, 20*time.Second
	_, err = i.Run(chart, r.values)
	return err
}

// upgrade is `helm upgrade`.
func (r release) upgrade() error {
	c, err := r.configuration()
	if err != nil {
		return err
	}
	chart, err := loader.Load(r.by.lab.path(r.chart))
	if err != nil {
		return err
	}
	u := action.NewUpgrade(c)
	u.Namespace, u.ServerSideApply, u.ForceConflicts = r.namespace, fmt.Sprint(r.serverSide), r.serverSide
	u.PostRenderer, u.MaxHistory, u.ResetValues = r.post, 5, true
	u.WaitStrategy, u.Timeout = kube.HookOnlyStrategy, 20*time.Second
	_, err = u.Run(r.name, chart, r.values)
	return err
}

// rollback is `helm rollback`.
func (r release) rollback(version int) error {
	c, err := r.configuration()
	if err != nil {
		return err
	}
	b := action.NewRollback(c)
	b.Version, b.ServerSideApply, b.ForceConflicts, b.MaxHistory = version, fmt.Sprint(r.serverSide), r.serverSide, 5
	b.WaitStrategy, b.Timeout = kube.HookOnlyStrategy, 20*time.Second
	return b.Run(r.name)
}

// uninstall is `helm uninstall`.
func (r release) uninstall() error {
	c, err := r.configuration()
	if err != nil {
		return err
	}
	u := action.NewUninstall(c)
	u.WaitStrategy, u.Timeout = kube.HookOnlyStrategy, 20*time.Second
	_, err = u.Run(r.name)
	return err
}

// with are the release's values and one more, as --set gives it.
func (r release) with(key string, value any) release {
	values := map[string]any{key: value}
	for k, v := range r.values {
		if k != key {
			values[k] = v
		}
	}
	r.values = values
	return r
}

// runs is one of the above, all of whose requests must be admitted.
func (r release) runs(what string, do func() error) {
	l := r.by.lab
	l.t.Helper()
	if err := do(); err != nil {
		l.t.Errorf("%s of %s: %v", what, r.name, err)
	}
	r.by.tell(l.t, what+" of "+r.name)
}

// labels is the post-renderer with which helm-controller adds common metadata
// and then the labels that say where an object is from
// (helm-controller/internal/postrender: CommonRenderer, OriginLabels).
type labels []map[string]string

func (add labels) Run(manifests *bytes.Buffer) (*bytes.Buffer, error) {
	var out bytes.Buffer
	for _, document := range bytes.Split(append([]byte("\n"), manifests.Bytes()...), []byte("\n---")) {
		var object map[string]any
		if err := yaml.Unmarshal(document, &object); err != nil {
			return nil, err
		}
		if object == nil {
			continue
		}
		u := &unstructured.Unstructured{Object: object}
		all := merged(u.GetLabels())
		for _, set := range add {
			all = merged(all, set)
		}
		u.SetLabels(all)
		text, err := yaml.Marshal(u.Object)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "---\n%s", text)
	}
	return &out, nil
}

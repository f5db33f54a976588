package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/server"
)

// run runs a command of the program against the lab's cluster, and returns what
// it prints and how it exits.
func (l *lab) run(args ...string) (string, int) {
	l.t.Helper()
	c := exec.Command(server.Binary(l.t), append(args, "--kubeconfig", l.plane.Kubeconfig(controlplane.Admin))...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	c.Env = append(c.Environ(), "XDG_CACHE_HOME="+filepath.Join(l.dir, "cache"))
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	if errs.Len() > 0 {
		l.t.Logf("gitward %s: %s", strings.Join(args, " "), errs.String())
	}
	return out.String(), c.ProcessState.ExitCode()
}

func (l *lab) gateStatus(name string) v1alpha1.GateStatus {
	l.t.Helper()
	u, err := l.dynamic.Resource(v1alpha1.GroupVersion.WithResource("gates")).Get(context.Background(), name, metav1.GetOptions{})
	l.check(err)
	var g v1alpha1.Gate
	l.check(runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &g))
	return g.Status
}

// TestAdopt: a cluster that runs already is looked at before anything is refused.
func TestAdopt(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "adopt"
	l.ensureNamespace(ns)
	tip := l.commit(map[string]string{"a.yaml": configMap(ns, "declared", "1"), "b.yaml": configMap(ns, "spoilt", "1")})
	for name, apple := range map[string]string{"declared": "1", "spoilt": "2", "left-over": "1"} {
		l.check(l.apply(configMap(ns, name, apple)))
	}
	l.installOrigin(nil)
	l.installGate("default", func(g *v1alpha1.Gate) {
		g.Spec.Action = v1alpha1.ActionAudit
		g.Spec.Exclude = []v1alpha1.Exclusion{{Namespaces: []string{"kube-system"}, Reason: "not ours"}}
	})
	l.awaitAccepted(tip)
	probe := func() error { // under Audit nothing is refused: the stamp tells that Gitward is asked
		err := l.apply(configMap(ns, "declared", "1"))
		if err != nil {
			return err
		}
		c, err := l.kube.CoreV1().ConfigMaps(ns).Get(context.Background(), "declared", metav1.GetOptions{})
		if err == nil && c.Annotations[gate.StampCommit] != tip {
			err = fmt.Errorf("it is stamped %v", c.Annotations)
		}
		return err
	}
	l.createWebhooks()
	server.Await(t, "the webhooks", 30*time.Second, probe)

	operator := must(kubernetes.NewForConfig(asAccount(l.plane.RESTConfig(controlplane.Admin), ns, "operator")))
	owned := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "made", OwnerReferences: []metav1.OwnerReference{{APIVersion: "example.org/v1", Kind: "Database",
		Name: "db", UID: "0b6a3f6c-0000-4000-8000-000000000000", Controller: new(true)}}}, StringData: map[string]string{"password": "hunter2"}}
	must(operator.CoreV1().Secrets(ns).Create(context.Background(), owned, metav1.CreateOptions{}))
	l.check(l.apply(configMap(ns, "by-hand", "1")))

	server.Await(t, "what is learned", 70*time.Second, func() error {
		if s := l.gateStatus("default"); len(s.Learned) < 2 {
			return fmt.Errorf("it has learned %+v", s.Learned)
		}
		return nil
	})
	out, code := l.run("impact", "--gate", "default", "-o", "json")
	if code != 0 || !strings.Contains(out, `"user": "system:serviceaccount:adopt:operator"`) || !strings.Contains(out, `"kind": "Database"`) ||
		!strings.Contains(out, `"people"`) || strings.Contains(out, "hunter2") {
		t.Errorf("gitward impact exits with %d and says\n%s", code, out)
	}
	text, _ := l.run("impact", "--gate", "default")
	records, _ := l.run("impact", "--gate", "default", "--records", l.gitward.Records)
	if !strings.Contains(records, "requests, ") || !strings.Contains(records, "operator") {
		t.Errorf("from records it says\n%s", records)
	}
	t.Logf("gitward impact\n%s", text)

	out, code = l.run("coverage", "-n", ns, "-o", "json", "--list", "untraced")
	var c struct {
		Total   map[string]int
		Objects []struct{ Object struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(out), &c); err != nil || code != 0 || c.Total["traced"] != 1 || c.Total["drifted"] != 1 || c.Total["untraced"] < 3 {
		t.Errorf("gitward coverage exits with %d and says\n%s (%v)", code, out, err)
	}
	text, _ = l.run("coverage")
	t.Logf("gitward coverage\n%s", text)
	if !strings.Contains(text, "not ours") {
		t.Error("the exclusion is not listed")
	}
	l.warns(ns)
}

// warns: a Gate that warns shows the would-be refusal to whoever applies.
func (l *lab) warns(ns string) {
	l.t.Helper()
	_, err := l.dynamic.Resource(v1alpha1.GroupVersion.WithResource("gates")).Patch(context.Background(), "default", types.MergePatchType,
		[]byte(`{"spec":{"action":"Warn"}}`), metav1.PatchOptions{})
	l.check(err)
	w := &warnings{}
	config := l.plane.RESTConfig(controlplane.Admin)
	config.WarningHandler = w
	kube := must(kubernetes.NewForConfig(config))
	server.Await(l.t, "a warning", 20*time.Second, func() error {
		_, err := kube.CoreV1().ConfigMaps(ns).Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "warned-"}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if !strings.Contains(w.text(), "would be refused: ConfigMap adopt/warned-") {
			return fmt.Errorf("the warnings are %q", w.text())
		}
		return nil
	})
}

type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

func (w *warnings) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.all, "\n")
}

// asAccount speaks as a service account that holds a token of its own, as far as
// a test can without one.
func asAccount(config *rest.Config, namespace, name string) *rest.Config {
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":" + name, UID: "1",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:masters"}}
	return config
}

const sre = "sre-oncall"

// TestBreakGlass: in an emergency somebody of the named group changes an object
// beside Git; it is recorded, bounded, listed, and owed until Git has caught up.
func TestBreakGlass(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "emergency"
	files := map[string]string{"namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + ns + "}\n", "a.yaml": configMap(ns, "prices", "1"), "b.yaml": configMap(ns, "other", "1")}
	tip := l.commit(files)
	l.installOrigin(nil)
	l.installGate("default", func(g *v1alpha1.Gate) {
		g.Spec.BreakGlass = &v1alpha1.BreakGlass{Groups: []string{sre}, MaxDuration: &metav1.Duration{Duration: 25 * time.Second}, ReasonPattern: "INC-[0-9]+.*"}
	})
	l.awaitAccepted(tip)
	l.setGated(true)
	l.applyFiles(files)
	person := func(groups ...string) *kubernetes.Clientset {
		config := l.plane.RESTConfig(controlplane.Admin)
		config.Impersonate = rest.ImpersonationConfig{UserName: "grace", Groups: append(groups, "system:masters")}
		return must(kubernetes.NewForConfig(config))
	}
	edit := func(kube *kubernetes.Clientset, name, apple, reason string) error {
		body := `{"data":{"apple":"` + apple + `"}}`
		if reason != "" {
			body = `{"data":{"apple":"` + apple + `"},"metadata":{"annotations":{"` + gate.StampBreakGlass + `":"` + reason + `"}}}`
		}
		return request(kube, "PATCH", "configmaps", ns, name).SetHeader("Content-Type", string(types.MergePatchType)).MaxRetries(0).Body([]byte(body)).Do(context.Background()).Error()
	}
	on, off := person(sre), person()
	expect(t, "an edit", edit(on, "prices", "2", ""), "differs from Git")
	expect(t, "without the group", edit(off, "prices", "2", "INC-1 prices are wrong"), "you are in none of its groups")
	expect(t, "without a ticket", edit(on, "prices", "2", "because"), "not of the form")
	expect(t, "break-glass", edit(on, "prices", "2", "INC-1 prices are wrong"), "")
	expect(t, "once more", edit(on, "prices", "3", ""), "")
	expect(t, "somebody else on the same object", edit(off, "prices", "4", ""), "differs from Git")
	expect(t, "another object", edit(on, "other", "2", ""), "differs from Git")
	expect(t, "a deletion without", on.CoreV1().ConfigMaps(ns).Delete(context.Background(), "other", metav1.DeleteOptions{}), "is still in Git")

	server.Await(t, "the debt", 20*time.Second, func() error {
		if s := l.gateStatus("default"); len(s.BreakGlass) != 1 || s.BreakGlass[0].Name != "prices" || s.BreakGlass[0].User != "grace" {
			return fmt.Errorf("it owes %+v", s.BreakGlass)
		}
		return nil
	})
	out, code := l.run("breakglass", "list")
	if code != 1 || !strings.Contains(out, "INC-1") || !strings.Contains(out, "data.apple") {
		t.Errorf("gitward breakglass list exits with %d and says\n%s", code, out)
	}
	t.Logf("gitward breakglass list\n%s", out)
	out, _ = l.run("breakglass", "list", "--yaml")
	var m map[string]any
	if err := yaml.Unmarshal([]byte(out), &m); err != nil || !strings.Contains(out, `apple: "3"`) || strings.Contains(out, "gitward.dev") || strings.Contains(out, "resourceVersion") {
		t.Errorf("to commit is\n%s (%v)", out, err)
	}
	// A restart forgets nothing.
	l.gitward.Kill()
	l.gitward.start()
	server.Await(t, "the restarted Gitward", 20*time.Second, func() error { return edit(on, "prices", "3", "") })
	time.Sleep(max(0, 26*time.Second-time.Since(l.gateStatus("default").BreakGlass[0].Since.Time)))
	expect(t, "after its time", edit(on, "prices", "5", ""), "it ended at")
	expect(t, "a new reason", edit(on, "prices", "5", "INC-2 again"), "")

	// Git catches up.
	files["a.yaml"] = configMap(ns, "prices", "5")
	l.awaitAccepted(l.commit(files))
	l.check(l.apply(files["a.yaml"]))
	server.Await(t, "the debt's end", 60*time.Second, func() error {
		if s := l.gateStatus("default"); len(s.BreakGlass) != 0 {
			return fmt.Errorf("it owes %+v", s.BreakGlass)
		}
		return nil
	})
	c, err := l.kube.CoreV1().ConfigMaps(ns).Get(context.Background(), "prices", metav1.GetOptions{})
	l.check(err)
	if c.Annotations[gate.StampBreakGlass] != "" || c.Annotations[gate.StampCommit] == "" {
		t.Errorf("traced again it is stamped %v", c.Annotations)
	}
	broken := 0
	for _, r := range l.gitward.decisions() {
		if r.Reason == string(gate.BrokenGlass) && strings.HasPrefix(r.BreakGlass, "INC-") {
			broken++
		}
	}
	if broken < 3 {
		t.Errorf("%d uses are recorded", broken)
	}

	// A pattern that is none lets nobody in, and is told.
	l.setGated(false)
	_, err = l.dynamic.Resource(v1alpha1.GroupVersion.WithResource("gates")).Patch(context.Background(), "default", types.MergePatchType,
		[]byte(`{"spec":{"breakGlass":{"reasonPattern":"INC-("}}}`), metav1.PatchOptions{})
	l.check(err)
	server.Await(t, "the Gate's condition", 20*time.Second, func() error {
		s := l.gateStatus("default")
		if c := meta.FindStatusCondition(s.Conditions, "Ready"); c == nil || c.Reason != "ReasonPatternInvalid" {
			return fmt.Errorf("it is %+v", c)
		}
		return nil
	})
	l.setGated(true)
	expect(t, "with a broken pattern", edit(on, "prices", "6", "INC-3 again"), "has no breakGlass in force")
}

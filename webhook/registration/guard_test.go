package registration

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const limit = 10 * time.Second

// Whoever deletes the judge and writes fast is named with every write, and
// nothing but metadata of a Secret is.
func TestDeleted(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	configMaps, secrets := l.kube.CoreV1().ConfigMaps(l.ns), l.kube.CoreV1().Secrets(l.ns)
	for i := range 5 {
		must(configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "old-" + l.name(i)}}, metav1.CreateOptions{}))
	}
	l.start()
	l.adopted()
	before := must(secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "before"}}, metav1.CreateOptions{}))
	began := time.Now()
	if err := l.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, Judge, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		meta := metav1.ObjectMeta{Name: l.name(i)}
		must(configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": "b"}}, metav1.CreateOptions{FieldManager: "intruder"}))
		must(secrets.Create(ctx, &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"password": "hunter2"}}, metav1.CreateOptions{FieldManager: "intruder"}))
	}
	for i := range 5 {
		if err := configMaps.Delete(ctx, "old-"+l.name(i), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	wrote := time.Since(began)
	l.await("restoration", limit, func() bool { return l.judge() != nil })
	g := l.gap()
	t.Logf("noticed after %v, restored after %v; 25 writes took %v; recorded after %v", g.Start.Sub(began), g.End.Sub(began), wrote, time.Since(began))
	if g.Configuration != Judge || g.What != "deleted" || !g.Restored || g.Incomplete != "" || g.By != nil {
		t.Errorf("the gap is %+v", g)
	}
	for i := range 10 {
		for _, kind := range []string{"ConfigMap", "Secret"} {
			l.named(g, "ADDED", kind, l.name(i), "intruder")
		}
	}
	for i := range 5 {
		l.named(g, "DELETED", "ConfigMap", "old-"+l.name(i), "")
	}
	if slices.ContainsFunc(g.Writes, func(w Write) bool { return w.UID == string(before.UID) || w.Name == Judge }) {
		t.Errorf("a write before the gap, or the restoration, is among %+v", g.Writes)
	}
}

func (l *lab) named(g Gap, kind, object, name, by string) {
	l.t.Helper()
	if !slices.ContainsFunc(g.Writes, func(w Write) bool {
		return w.Type == kind && w.APIVersion == "v1" && w.Kind == object && w.Namespace == l.ns && w.Name == name && w.UID != "" && (by == "" || slices.Contains(w.Managers, by))
	}) {
		l.t.Errorf("%s %s %s is not among %d writes", kind, object, name, len(g.Writes))
	}
}

// update changes the judge as somebody who may.
func (l *lab) update(change func(*admissionregistrationv1.ValidatingWebhook)) {
	l.t.Helper()
	j := l.judge()
	change(&j.Webhooks[0])
	must(l.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Update(context.Background(), j, metav1.UpdateOptions{FieldManager: "intruder"}))
}

func oneSecond(w *admissionregistrationv1.ValidatingWebhook) { w.TimeoutSeconds = new(int32(1)) }

func TestChanged(t *testing.T) {
	l := newLab(t)
	l.start()
	l.adopted()
	ignore := admissionregistrationv1.Ignore
	for field, change := range map[string]func(*admissionregistrationv1.ValidatingWebhook){
		"rules":                 func(w *admissionregistrationv1.ValidatingWebhook) { w.Rules[0].Resources = []string{"pods"} },
		"failurePolicy":         func(w *admissionregistrationv1.ValidatingWebhook) { w.FailurePolicy = &ignore },
		"timeoutSeconds":        oneSecond,
		"clientConfig.caBundle": func(w *admissionregistrationv1.ValidatingWebhook) { w.ClientConfig.CABundle = nil },
		"clientConfig.url": func(w *admissionregistrationv1.ValidatingWebhook) {
			*w.ClientConfig.URL = "https://127.0.0.1:2/validate"
		},
		"matchConditions": func(w *admissionregistrationv1.ValidatingWebhook) {
			w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
		},
		"namespaceSelector": func(w *admissionregistrationv1.ValidatingWebhook) {
			w.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		},
	} {
		before, began := l.judge().Webhooks, time.Now()
		l.update(change)
		g := l.gap()
		t.Logf("%s: noticed after %v, restored after %v", field, g.Start.Sub(began), g.End.Sub(began))
		if g.What != "changed: webhooks[0]."+field || !g.Restored || g.End.Sub(began) > limit {
			t.Errorf("%s: the gap is %+v", field, g)
		}
		// The removal of a field leaves no manager behind.
		if field != "clientConfig.caBundle" && g.By[0] != "intruder" {
			t.Errorf("%s: by %v", field, g.By)
		}
		if after := l.judge().Webhooks; after[0].String() != before[0].String() {
			t.Errorf("%s: restored to %v, want %v", field, after, before)
		}
	}
}

// A renewed authority and labels are taken over, and are what is restored.
func TestAdopted(t *testing.T) {
	l := newLab(t)
	l.start()
	l.adopted()
	renewed := authority()
	l.update(func(w *admissionregistrationv1.ValidatingWebhook) { w.ClientConfig.CABundle = renewed })
	time.Sleep(time.Second)
	if err := l.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(context.Background(), Judge, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if g := l.gap(); g.What != "deleted" {
		t.Errorf("the renewal was a gap: %+v", g)
	}
	if j := l.judge(); !bytes.Equal(j.Webhooks[0].ClientConfig.CABundle, renewed) {
		t.Error("the old authority was restored")
	}
}

// Without the ConfigMap, or with the annotation on it, a change is taken over.
func TestAskedFor(t *testing.T) {
	l := newLab(t)
	l.start()
	configMaps := l.kube.CoreV1().ConfigMaps(l.ns)
	ask := map[string]func() error{
		"deleted": func() error { return configMaps.Delete(context.Background(), ConfigMap, metav1.DeleteOptions{}) },
		"annotated": func() error {
			cm := must(configMaps.Get(context.Background(), ConfigMap, metav1.GetOptions{}))
			cm.Annotations = map[string]string{AdoptAnnotation: "true"}
			_, err := configMaps.Update(context.Background(), cm, metav1.UpdateOptions{})
			return err
		},
	}
	for how, timeout := range map[string]int32{"deleted": 7, "annotated": 8} {
		l.adopted()
		if err := ask[how](); err != nil {
			t.Fatal(err)
		}
		l.update(func(w *admissionregistrationv1.ValidatingWebhook) { w.TimeoutSeconds = &timeout })
		l.await(how, limit, func() bool {
			cm, err := configMaps.Get(context.Background(), ConfigMap, metav1.GetOptions{})
			return err == nil && cm.Annotations[AdoptAnnotation] == "" && strings.Contains(cm.Data[key], `"timeoutSeconds":`+string('0'+rune(timeout)))
		})
		if *l.judge().Webhooks[0].TimeoutSeconds != timeout {
			t.Errorf("%s: undone", how)
		}
		if g := l.gap(); g.What != "adopted: webhooks[0].timeoutSeconds" || g.Restored || g.StandDown == "" || g.By[0] != "intruder" {
			t.Errorf("%s: the adoption is recorded as %+v", how, g)
		}
	}
}

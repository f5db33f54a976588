package registration

import (
	"context"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// announce does what the chart's hook does.
func (l *lab) announce() {
	l.t.Helper()
	configMaps := l.kube.CoreV1().ConfigMaps(l.ns)
	_ = configMaps.Delete(context.Background(), Installation, metav1.DeleteOptions{})
	must(configMaps.Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: Installation}}, metav1.CreateOptions{}))
}

// marked says whether nothing is wanted any more.
func (l *lab) marked() bool {
	cm, err := l.kube.CoreV1().ConfigMaps(l.ns).Get(context.Background(), ConfigMap, metav1.GetOptions{})
	return err == nil && cm.Annotations[AdoptAnnotation] == "true"
}

// What an installation takes away stays away: else the API server would go on to
// ask somebody who is gone.
func TestUninstalled(t *testing.T) {
	l := newLab(t)
	l.window = 8 * time.Second
	stop := l.start()
	l.adopted()
	l.announce()
	l.uninstall()
	// What is seen once counts, though the namespace goes as well.
	time.Sleep(2 * time.Second)
	if err := l.kube.CoreV1().ConfigMaps(l.ns).Delete(t.Context(), Installation, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	l.await("nothing wanted", 2*l.window, func() bool {
		if l.judge() != nil {
			t.Fatal("put back")
		}
		return l.marked()
	})
	for range 2 {
		if g := l.gap(); g.What != "deleted" || g.Restored || !g.End.IsZero() || !strings.Contains(g.StandDown, Installation) {
			t.Errorf("the gap is %+v", g)
		}
	}
	stop()
	l.start() // a fresh process knows it too
	time.Sleep(pollEvery + time.Second)
	if l.judge() != nil {
		t.Error("a fresh process put it back")
	}
	l.install()
	l.await("adoption", limit, func() bool { return !l.marked() })
	l.remove()
	l.await("restoration", limit, func() bool { return l.judge() != nil })
	if g := l.gap(); g.What != "deleted" || !g.Restored || g.StandDown != "" {
		t.Errorf("after it was installed again the gap is %+v", g)
	}
}

// What an installation changes is kept from then on.
func TestUpgraded(t *testing.T) {
	l := newLab(t)
	l.window = 6 * time.Second
	l.start()
	l.adopted()
	l.announce()
	l.update(oneSecond)
	g := l.gap()
	if g.What != "changed: webhooks[0].timeoutSeconds; adopted" || g.Restored || g.End.IsZero() || !strings.Contains(g.StandDown, Installation) {
		t.Errorf("the gap is %+v", g)
	}
	time.Sleep(l.window)
	if *l.judge().Webhooks[0].TimeoutSeconds != 1 {
		t.Error("changed back")
	}
	l.remove()
	l.await("restoration", limit, func() bool { return l.judge() != nil })
	if *l.judge().Webhooks[0].TimeoutSeconds != 1 {
		t.Error("the old form was restored")
	}
}

// An installation that is over, or that leaves half of it, does not keep a Guard
// from restoring.
func TestAnnouncedOnly(t *testing.T) {
	l := newLab(t)
	l.window = 4 * time.Second
	l.start()
	l.adopted()
	l.announce()
	l.remove()
	time.Sleep(2 * time.Second)
	if l.judge() != nil {
		t.Error("put back while an installation is under way")
	}
	l.await("restoration", limit, func() bool { return l.judge() != nil })
	if g := l.gap(); !g.Restored || !strings.Contains(g.StandDown, Installation) {
		t.Errorf("the gap is %+v", g)
	}
	l.uninstall()
	l.await("restoration", limit, func() bool { return l.judge() != nil })
	for range 2 {
		if g := l.gap(); !g.Restored || g.StandDown != "" {
			t.Errorf("long after an installation the gap is %+v", g)
		}
	}
}

// Less than the chart has is not adopted, whoever asks and however; and what is
// adopted is recorded.
func TestWeaker(t *testing.T) {
	l := newLab(t)
	l.window = time.Minute
	l.start()
	l.adopted()
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"nobody": "has"}}
	l.announce()
	l.update(func(w *admissionregistrationv1.ValidatingWebhook) { w.NamespaceSelector = selector })
	if err := l.kube.CoreV1().ConfigMaps(l.ns).Delete(t.Context(), ConfigMap, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pollEvery + 3*time.Second)
	if _, err := l.kube.CoreV1().ConfigMaps(l.ns).Get(t.Context(), ConfigMap, metav1.GetOptions{}); err == nil {
		t.Error("a namespaceSelector was adopted")
	}
	l.update(func(w *admissionregistrationv1.ValidatingWebhook) {
		w.NamespaceSelector = nil
		w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{Name: "not-me", Expression: `request.userInfo.username != "mallory"`})
	})
	l.adopted()
	var what []string
	l.await("the record of the adoption", 20*time.Second, func() bool {
		what = append(what, l.gap().What)
		return strings.HasPrefix(what[len(what)-1], "adopted: ")
	})
	if what[len(what)-1] != "adopted: webhooks[0].matchConditions" {
		t.Errorf("recorded are %q", what)
	}
}

package registration

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
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

// For how long an announcement counts, with clocks that differ and when it is gone.
func TestAnnounced(t *testing.T) {
	at := func(uid types.UID, from time.Duration) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: Installation, Namespace: "n", UID: uid, CreationTimestamp: metav1.NewTime(time.Now().Add(from))}}
	}
	for what, c := range map[string]struct {
		first, then *corev1.ConfigMap // nil: none
		want        time.Duration     // that is left
	}{
		"none":                         {nil, nil, 0},
		"young":                        {at("a", -time.Minute), nil, 9 * time.Minute},
		"old":                          {at("a", -time.Hour), at("a", -time.Hour), 0},
		"from days to come":            {at("a", 24*time.Hour), nil, 10 * time.Minute},
		"new, by a clock that is slow": {nil, at("a", -time.Hour), 10 * time.Minute},
		"another":                      {at("a", -time.Hour), at("b", -time.Hour), 10 * time.Minute},
		"gone since":                   {at("a", -time.Minute), nil, 9 * time.Minute},
	} {
		client := fake.NewClientset()
		r := &run{Guard: &Guard{Namespace: "n"}, store: &store{client: client, namespace: "n"}, trouble: &trouble{log: slog.New(slog.DiscardHandler)}}
		for _, cm := range []*corev1.ConfigMap{c.first, c.then} {
			_ = client.CoreV1().ConfigMaps("n").Delete(t.Context(), Installation, metav1.DeleteOptions{})
			if cm != nil {
				must(client.CoreV1().ConfigMaps("n").Create(t.Context(), cm, metav1.CreateOptions{}))
			}
			r.announced(t.Context())
		}
		why, ok := r.announced(t.Context())
		left := max(0, time.Until(r.installing.until))
		if ok != (c.want > 0) || (left-c.want).Abs() > 5*time.Second || ok && why == "" {
			t.Errorf("%s: %v, %v left, want %v", what, ok, left, c.want)
		}
	}
}

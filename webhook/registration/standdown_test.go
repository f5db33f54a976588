package registration

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (l *lab) remove() {
	l.t.Helper()
	if err := l.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(context.Background(), Judge, metav1.DeleteOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

// While break-glass is open the gap stays, and is closed once it ends.
func TestStandDown(t *testing.T) {
	l := newLab(t)
	l.start()
	l.adopted()
	l.breakGlass("INC-1: the API server cannot start")
	l.remove()
	time.Sleep(pollEvery + 2*time.Second)
	if l.judge() != nil {
		t.Error("restored while break-glass is open")
	}
	l.breakGlass("")
	t.Logf("restored %v after break-glass ended", l.await("restoration", limit, func() bool { return l.judge() != nil }))
	if g := l.gap(); g.StandDown != "INC-1: the API server cannot start" || !g.Restored || g.End.Sub(g.Start) < pollEvery {
		t.Errorf("the gap is %+v", g)
	}
}

// A process that never saw the configurations knows them from the ConfigMap.
func TestFreshProcess(t *testing.T) {
	l := newLab(t)
	stop := l.start()
	l.adopted()
	stop()
	l.remove()
	began := time.Now()
	l.start() // with a state directory of its own
	t.Logf("restored %v after the start", l.await("restoration", limit, func() bool { return l.judge() != nil }))
	g := l.gap()
	if g.What != "deleted" || !g.Restored || g.Incomplete == "" || g.End.Sub(began) > limit {
		t.Errorf("the gap is %+v", g)
	}
}

// Two replicas restore one configuration, and both record it.
func TestTwoReplicas(t *testing.T) {
	l := newLab(t)
	l.start()
	l.adopted()
	l.start()
	time.Sleep(time.Second)
	l.remove()
	a, b := l.gap(), l.gap()
	if a.What != "deleted" || b.What != "deleted" || !a.Restored && !b.Restored {
		t.Errorf("the gaps are %+v and %+v", a, b)
	}
	time.Sleep(pollEvery)
	if len(l.gaps) > 0 {
		t.Errorf("another gap: %+v", l.gaps[0])
	}
}

// A quarrel does not become one record for each blow.
func TestQuarrel(t *testing.T) {
	l := newLab(t)
	l.start()
	l.adopted()
	for range 5 {
		l.remove()
		l.await("restoration", limit, func() bool { return l.judge() != nil })
	}
	g := l.gap()
	time.Sleep(silence + lag)
	if !g.Restored || len(l.gaps) > 0 {
		t.Errorf("%d gaps beside %+v", len(l.gaps), g)
	}
}

// A Guard that is stopped while a gap is open records it as open.
func TestStopped(t *testing.T) {
	l := newLab(t)
	stop := l.start()
	l.adopted()
	l.breakGlass("INC-2")
	l.remove()
	time.Sleep(time.Second)
	stop()
	l.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(context.Background(), Annotator, metav1.DeleteOptions{})
	if g := l.gap(); !g.End.IsZero() || g.Restored || g.Incomplete == "" {
		t.Errorf("the gap is %+v", g)
	}
}

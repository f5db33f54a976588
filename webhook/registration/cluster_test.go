package registration

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
)

func TestMain(m *testing.M) { os.Exit(controlplane.Run(m)) }

// lab is a cluster whose configurations are complete but for a condition that
// nothing meets, so that nobody has to answer.
type lab struct {
	t    *testing.T
	kube *kubernetes.Clientset
	ns   string
	ca   []byte

	window time.Duration // of its Guards

	mu        sync.Mutex
	gaps      []Gap
	standDown string
}

func newLab(t *testing.T) *lab {
	plane := controlplane.ForTest(t, controlplane.Options{})
	l := &lab{t: t, kube: must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin))), ca: authority()}
	ns := must(l.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "registration-"}}, metav1.CreateOptions{}))
	l.ns = ns.Name
	l.install()
	t.Cleanup(l.uninstall)
	return l
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func authority() []byte {
	ca, _, _, err := install.ServingCertificate("127.0.0.1")
	return must(ca, err)
}

func (l *lab) install() {
	l.t.Helper()
	judge, annotator := install.Webhooks("https://127.0.0.1:1", l.ca)
	nothing := admissionregistrationv1.MatchCondition{Name: "nothing", Expression: "false"}
	judge.Webhooks[0].MatchConditions = append(judge.Webhooks[0].MatchConditions, nothing)
	annotator.Webhooks[0].MatchConditions = append(annotator.Webhooks[0].MatchConditions, nothing)
	admission := l.kube.AdmissionregistrationV1()
	must(admission.ValidatingWebhookConfigurations().Create(context.Background(), judge, metav1.CreateOptions{}))
	must(admission.MutatingWebhookConfigurations().Create(context.Background(), annotator, metav1.CreateOptions{}))
}

func (l *lab) uninstall() {
	admission := l.kube.AdmissionregistrationV1()
	_ = admission.ValidatingWebhookConfigurations().Delete(context.Background(), Judge, metav1.DeleteOptions{})
	_ = admission.MutatingWebhookConfigurations().Delete(context.Background(), Annotator, metav1.DeleteOptions{})
}

// start runs a Guard as a fresh process would, and returns what stops it.
func (l *lab) start() (stop func()) {
	return l.startAs(controlplane.ForTest(l.t, controlplane.Options{}).RESTConfig(controlplane.Admin))
}

func (l *lab) startAs(config *rest.Config) (stop func()) {
	g := &Guard{Config: config, Namespace: l.ns, StateDir: l.t.TempDir(), Recorder: l, StandDown: l.standsDown,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Settle: time.Second, Window: l.window}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("Run: %v", err)
		}
	})
	l.t.Cleanup(stop)
	return stop
}

// adopted waits until the configurations are kept.
func (l *lab) adopted() {
	l.t.Helper()
	l.await("adoption", 10*time.Second, func() bool {
		_, err := l.kube.CoreV1().ConfigMaps(l.ns).Get(context.Background(), ConfigMap, metav1.GetOptions{})
		return err == nil
	})
}

func (l *lab) RecordGap(g Gap) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps = append(l.gaps, g)
	return nil
}

func (l *lab) standsDown() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.standDown, l.standDown != ""
}

func (l *lab) breakGlass(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.standDown = reason
}

// gap waits for the next gap that is recorded.
func (l *lab) gap() Gap {
	l.t.Helper()
	var g Gap
	l.await("a gap", 20*time.Second, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.gaps) == 0 {
			return false
		}
		g, l.gaps = l.gaps[0], l.gaps[1:]
		return true
	})
	return g
}

func (l *lab) await(what string, limit time.Duration, ready func() bool) time.Duration {
	l.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if ready() {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			l.t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

func (l *lab) judge() *admissionregistrationv1.ValidatingWebhookConfiguration {
	j, err := l.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(context.Background(), Judge, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return must(j, err)
}

func (l *lab) name(i int) string { return fmt.Sprintf("o%02d", i) }

package appliers

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

// gated puts the webhooks into the cluster or takes them out, and waits until
// the API server does as it was told.
func (l *lab) gated(on bool) {
	l.t.Helper()
	ctx, registration := context.Background(), l.kube.AdmissionregistrationV1()
	judge, annotator := install.Webhooks(l.gitward.URL, l.gitward.CA)
	if on {
		_, err := registration.ValidatingWebhookConfigurations().Create(ctx, judge, metav1.CreateOptions{})
		l.check(err)
		_, err = registration.MutatingWebhookConfigurations().Create(ctx, annotator, metav1.CreateOptions{})
		l.check(err)
	} else {
		for _, err := range []error{
			registration.ValidatingWebhookConfigurations().Delete(ctx, install.Judge, metav1.DeleteOptions{}),
			registration.MutatingWebhookConfigurations().Delete(ctx, install.Annotator, metav1.DeleteOptions{}),
		} {
			if err != nil && !apierrors.IsNotFound(err) {
				l.t.Fatal(err)
			}
		}
	}
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "probe-that-is-in-no-repository"}}
	server.Await(l.t, fmt.Sprintf("the webhooks (%v)", on), 30*time.Second, func() error {
		_, err := l.kube.CoreV1().ConfigMaps("default").Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if refused(err) != on {
			return fmt.Errorf("the answer is %v", err)
		}
		return nil
	})
	// The two configurations come by two watches: leave the other its moment.
	time.Sleep(250 * time.Millisecond)
}

// refused reports an error that is Gitward's denial, not anybody else's.
func refused(err error) bool { return err != nil && deniedByGate(err.Error()) }

func deniedByGate(message string) bool {
	return strings.Contains(message, `admission webhook "`+install.Judge+`" denied the request`)
}

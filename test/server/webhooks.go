package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/gitward/gitward/test/install"
)

// Register puts the webhooks into the cluster and waits until the API server
// asks Gitward.
func (g *Gitward) Register(t testing.TB, kube kubernetes.Interface) {
	t.Helper()
	ctx, registration := context.Background(), kube.AdmissionregistrationV1()
	judge, annotator := install.Webhooks(g.URL, g.CA)
	_, err := registration.ValidatingWebhookConfigurations().Create(ctx, judge, metav1.CreateOptions{})
	if err == nil {
		_, err = registration.MutatingWebhookConfigurations().Create(ctx, annotator, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	AwaitGated(t, kube, true)
}

// Unregister takes the webhooks out of the cluster, if they are there, and waits
// until the API server no longer asks.
func Unregister(t testing.TB, kube kubernetes.Interface) {
	t.Helper()
	ctx, registration := context.Background(), kube.AdmissionregistrationV1()
	for _, err := range []error{
		registration.ValidatingWebhookConfigurations().Delete(ctx, install.Judge, metav1.DeleteOptions{}),
		registration.MutatingWebhookConfigurations().Delete(ctx, install.Annotator, metav1.DeleteOptions{}),
	} {
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	AwaitGated(t, kube, false)
}

// AwaitGated waits until the API server asks Gitward, before a Gate that denies
// what is in no repository, or until it does not.
func AwaitGated(t testing.TB, kube kubernetes.Interface, on bool) {
	t.Helper()
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "probe-that-is-in-no-repository"}}
	Await(t, fmt.Sprintf("the webhooks (%v)", on), time.Minute, func() error {
		_, err := kube.CoreV1().ConfigMaps("default").Create(context.Background(), probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		// A webhook that cannot be called is asked all the same.
		if on && !Refused(err) || !on && err != nil {
			return fmt.Errorf("the answer is %v", err)
		}
		return nil
	})
	// The two configurations come by two watches: leave the other its moment.
	time.Sleep(250 * time.Millisecond)
}

// Refused reports an error that is Gitward's denial, not anybody else's.
func Refused(err error) bool { return err != nil && IsDenial(err.Error()) }

// IsDenial reports a message of the API server that says that Gitward denied.
func IsDenial(message string) bool {
	return strings.Contains(message, `admission webhook "`+install.Judge+`" denied the request`)
}

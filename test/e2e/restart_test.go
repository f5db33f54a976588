package e2e

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/server"
)

// TestRestart: Gitward dies as in a power cut, Git is out of reach, and still
// the restarted process knows what it knew.
func TestRestart(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "restart"
	l.ensureNamespace(ns)
	tip := l.commit(map[string]string{"a.yaml": configMap(ns, "a", "1"), "b.yaml": configMap(ns, "b", "1")})
	l.installOrigin(nil)
	l.installGate("default", nil)
	l.awaitAccepted(tip)
	l.setGated(true)
	expect(t, "before", l.apply(configMap(ns, "a", "1")), "")

	// The index must have reached the disk by the time a look at Git is over.
	time.Sleep(2 * time.Second)
	l.gitward.Kill()
	l.server.SetFault(gitserver.Fault{Status: 503})
	err := l.apply(configMap(ns, "b", "1"))
	if err == nil || server.Refused(err) {
		t.Errorf("while Gitward is dead: %v, want a webhook that cannot be called", err)
	}
	started := time.Now()
	l.gitward.start()
	listening := time.Since(started)
	expect(t, "what Git declares", l.apply(configMap(ns, "b", "1")), "")
	admitted := time.Since(started)
	// Git may hold something newer, so the client is asked to try again; here it
	// does not.
	err = request(l.kube, "PATCH", "configmaps", ns, "a").SetHeader("Content-Type", string(types.MergePatchType)).MaxRetries(0).
		Body([]byte(`{"data":{"apple":"2"}}`)).Do(context.Background()).Error()
	expect(t, "what Git does not declare", err, "differs from Git: data.apple")
	if !apierrors.IsTooManyRequests(err) {
		t.Errorf("the refusal is final although Git is out of reach: %v", err)
	}
	answered := time.Since(started)
	t.Logf("restart without Git: listening after %v, the first admission after %v, the first refusal after %v",
		listening.Round(time.Millisecond), admitted.Round(time.Millisecond), answered.Round(time.Millisecond))
	if answered > 30*time.Second { // the goal is 5s; a test on a busy machine only holds that it ends
		t.Errorf("both answers took %v", answered)
	}
	if status, err := l.originStatus(); err != nil || status.AcceptedRevision != tip {
		t.Errorf("the accepted revision is %q, want %s (%v)", status.AcceptedRevision, tip, err)
	}
}

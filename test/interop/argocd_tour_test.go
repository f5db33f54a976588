package interop

import (
	"context"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/server"
)

// argoTour is a real repository as Argo CD deploys it: Applications that make
// Applications, of which the repository's own copy in the corpus has some.
type argoTour struct {
	name  string // below the corpus's argocd
	kinds [][5]string
	sets  bool // it has ApplicationSets
	// change makes the copy that is deployed.
	change func(l *lab, files map[string]string)
	// unable are directories that Argo CD cannot make objects of, and why.
	unable map[string]string
	// waits are Applications that are in sync, and wait for what nobody does here.
	waits map[string]string
	able  int // Applications that come to be in sync and are done
	// objects are some that are there then, and edits what a person tries.
	objects []string
	edits   map[string][]string
	prune   func(files map[string]string) (write map[string]string, remove []string)
	orphan  string // what goes with it
}

// take deploys the repository; bySSA with server-side apply throughout.
func (v argoTour) take(t *testing.T, bySSA bool) {
	need(t, "argocd")
	files := readTree(t, filepath.Join(corpus.Dir(t, "argocd"), v.name))
	l := newLab(t)
	for _, k := range v.kinds {
		permissive(l, k[0], k[1], k[2], k[3], k[4])
	}
	v.change(l, files)
	if bySSA {
		serverSide(files)
	} else {
		clientSide(files)
	}
	a := &argo{lab: l, resync: 10}
	a.install()
	l.putYAML(files["clusters/test/root.yaml"])
	a.prepare()
	if v.sets {
		a.prepareSets()
	}
	tip := l.commit(files)
	s := &stage{lab: l, applier: a, files: files}
	// The repository has files for all of its clusters: these are for this one.
	s.trust(tip, []v1alpha1.Render{{Path: "clusters/test", Namespace: argoNamespace}})
	s.gated(true)
	l.kubelet()
	v.tell(t, s, a, tip)
}

// tell plays the chapters of the tour.
func (v argoTour) tell(t *testing.T, s *stage, a *argo, tip string) {
	defer s.tellAtEnd(t)
	begin := s.lab.mark()
	if !t.Run("everything that is applied is admitted", s.chapter(func(t *testing.T) {
		s.run(t)
		server.Await(t, "the first synchronisation", 15*time.Minute, func() error { return v.deployed(t, a, s.files, tip) })
		s.nothingDenied(t, begin, a.users()...)
		for _, object := range v.objects {
			if _, err := s.get(object); err != nil {
				t.Errorf("%s: %v", object, err)
			}
		}
		v.tellLeft(t, a, s.files)
		table(t, "the first synchronisation", s.tallies(begin.requests, a.users()...))
		s.second(t)
	})) {
		table(t, "what was asked for", s.tallies(begin.requests, a.users()...))
		return
	}
	t.Run("it is settled after the first", s.chapter(func(t *testing.T) { s.settled(t, 4) }))
	t.Run("what is removed in Git is pruned", s.chapter(func(t *testing.T) {
		since := s.lab.mark()
		write, remove := v.prune(s.files)
		tip = s.commit(write, remove...)
		s.gone(v.orphan, a.patience())
		server.Await(t, "the commit", a.patience(), func() error { return a.reconciled(tip) })
		s.nothingDenied(t, since, a.users()...)
		s.settled(t, 2)
	}))
	t.Run("a manual edit is refused", s.chapter(func(t *testing.T) { s.refusals(t, s.eve, v.edits) }))
	t.Run("what tells the tool what to do cannot be edited by hand", s.chapter(func(t *testing.T) { s.refusals(t, s.eve, s.edits()) }))
}

// deployed reports whether every Application whose directory Argo CD can make
// objects of is in sync.
func (v argoTour) deployed(t *testing.T, a *argo, files map[string]string, tip string) error {
	able, _, err := v.split(a, files)
	if err != nil {
		return err
	}
	a.applications = able
	if err := a.reconciled(tip); err != nil {
		return fmt.Errorf("of %d Applications of %d: %w", len(able), v.able, err)
	}
	if len(able) != v.able {
		return fmt.Errorf("there are %d Applications that can be synchronised, not %d: %v", len(able), v.able, able)
	}
	return nil
}

// split sorts the cluster's Applications, by name, into those that Argo CD can
// synchronise and the reasons of the rest.
func (v argoTour) split(a *argo, files map[string]string) (able []string, left map[string]string, err error) {
	u := ref(argoApplication + "any")
	client, err := a.client(a.dynamic, u)
	if err != nil {
		return nil, nil, err
	}
	list, err := client.List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	left = map[string]string{}
	for i := range list.Items {
		name := list.Items[i].GetName()
		switch why := v.why(&list.Items[i], a.lab, files); {
		case why != "":
			left[name] = why
		case v.waits[name] == "":
			able = append(able, name)
		}
	}
	return able, left, nil
}

// why says why Argo CD makes nothing of an Application.
func (v argoTour) why(u *unstructured.Unstructured, l *lab, files map[string]string) string {
	source, _, _ := unstructured.NestedMap(u.Object, "spec", "source")
	at, _ := source["path"].(string)
	dir := path.Clean(at)
	switch {
	case source == nil:
		return "several sources"
	case source["chart"] != nil:
		return "a chart elsewhere"
	case source["repoURL"] != any(l.repoURL()):
		return "a repository elsewhere"
	case v.unable[dir] != "":
		return v.unable[dir]
	}
	for name := range files {
		if strings.HasPrefix(name, dir+"/") {
			return ""
		}
	}
	return "a directory that is not in the corpus"
}

// tellLeft prints what of the repository is not played, and holds that Argo CD
// did not deploy it.
func (v argoTour) tellLeft(t *testing.T, a *argo, files map[string]string) {
	_, left, err := v.split(a, files)
	a.check(err)
	reasons := map[string][]string{}
	for name, why := range left {
		reasons[why] = append(reasons[why], name)
		u, err := a.get(argoApplication + name)
		a.check(err)
		if resources, _, _ := unstructured.NestedSlice(u.Object, "status", "resources"); len(resources) > 0 {
			t.Errorf("%s was said to be left out (%s), and has %d objects", name, why, len(resources))
		}
	}
	t.Logf("%d Applications are in sync", len(a.applications))
	for name, why := range v.waits {
		server.Await(t, name, a.patience(), func() error {
			u, err := a.get(argoApplication + name)
			if err != nil {
				return err
			}
			if status, _, _ := unstructured.NestedString(u.Object, "status", "sync", "status"); status != "Synced" {
				return fmt.Errorf("it is %s", status)
			}
			return nil
		})
		t.Logf("%s is in sync too, and waits for %s", name, why)
	}
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		slices.Sort(reasons[why])
		t.Logf("%d are not, for %s: %v", len(reasons[why]), why, reasons[why])
	}
}

// clientSide has all Applications applied as kubectl does.
func clientSide(files map[string]string) {
	for name, text := range files {
		var lines []string
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) != "- ServerSideApply=true" {
				lines = append(lines, line)
			}
		}
		files[name] = strings.Join(lines, "")
	}
}

// serverSide has those Applications that make their namespace, which all of
// the corpus with options do, applied with server-side apply.
func serverSide(files map[string]string) {
	for name, text := range files {
		if strings.Contains(text, "ServerSideApply=true") {
			continue
		}
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, line)
			if indent, found := strings.CutSuffix(line, "- CreateNamespace=true\n"); found && strings.TrimSpace(indent) == "" {
				lines = append(lines, indent+"- ServerSideApply=true\n")
			}
		}
		files[name] = strings.Join(lines, "")
	}
}

// kubelet has Pods look as if they ran: those of Jobs have succeeded, all others
// are ready. Otherwise a hook, or what is of an earlier wave, is waited for
// without end.
func (l *lab) kubelet() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	l.t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			pods, err := l.kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Pending"})
			if err == nil {
				for i := range pods.Items {
					l.looksRun(ctx, &pods.Items[i])
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
}

func (l *lab) looksRun(ctx context.Context, pod *corev1.Pod) {
	pod.Status.Phase = corev1.PodRunning
	if pod.Labels["batch.kubernetes.io/job-name"] != "" {
		pod.Status.Phase = corev1.PodSucceeded
	} else {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()})
	}
	// A conflict is met again at the next look.
	_, _ = l.kube.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
}

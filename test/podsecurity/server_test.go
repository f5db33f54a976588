package podsecurity

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
)

var dry = []string{metav1.DryRunAll}

// answer is what the API server makes of a pod.
type answer int

const (
	invalid answer = iota // refused before anybody asks about its security
	takes
	denies
)

func answered(t *testing.T, err error) answer {
	t.Helper()
	switch {
	case err == nil:
		return takes
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity"):
		return denies
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return invalid
	}
	t.Fatalf("neither taken, nor denied, nor invalid: %v", err)
	return invalid
}

// cluster is an API server with a namespace for each profile, whose label asks
// for it.
type cluster struct{ kube *kubernetes.Clientset }

func start(t *testing.T) cluster {
	t.Helper()
	config := controlplane.ForTest(t, controlplane.Options{}).RESTConfig(controlplane.Admin)
	config.QPS, config.WarningHandler = -1, rest.NoWarnings{}
	c := cluster{must(kubernetes.NewForConfig(config))}
	for _, profile := range []string{"baseline", "restricted"} {
		_, err := c.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: profile}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		_, err = c.kube.CoreV1().ServiceAccounts(profile).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		c.label(t, profile, profile)
	}
	return c
}

func (c cluster) label(t *testing.T, namespace, level string) {
	t.Helper()
	_, err := c.kube.CoreV1().Namespaces().Patch(t.Context(), namespace, types.MergePatchType,
		must(json.Marshal(object{"metadata": object{"labels": object{"pod-security.kubernetes.io/enforce": level}}})), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// create has the server say what it would do with a pod, and gives it as the
// server would keep it.
func (c cluster) create(t *testing.T, namespace string, p object) (answer, object) {
	t.Helper()
	body := must(json.Marshal(p))
	got := c.kube.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
		VersionedParams(&metav1.CreateOptions{DryRun: dry}, metav1.ParameterCodec).SetHeader("Content-Type", "application/json").Body(body).Do(t.Context())
	if err := got.Error(); err != nil {
		return answered(t, err), nil
	}
	var kept object
	if err := json.Unmarshal(must(got.Raw()), &kept); err != nil {
		t.Fatal(err)
	}
	return takes, kept
}

// TestServer compares the policies' verdicts with the PodSecurity admission of
// a real API server. Pods that are no pods to it are not counted.
func TestServer(t *testing.T) {
	c, ours := start(t), load(t)
	random := rand.New(rand.NewPCG(3, 4))
	used := []string{"containers", "initContainers"} // ephemeral ones have a test of their own
	pods := single(used, false)
	pods = append(pods, mixed(random, 600, used, false)...)
	// Enough of each profile, on a server with one core.
	random.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	count := map[string]map[answer]int{"baseline": {}, "restricted": {}}
	differences := 0
	for _, p := range pods {
		verdicts := ours.ask(t, creation(p.pod))
		for profile, counted := range count {
			want, kept := c.create(t, profile, p.pod)
			counted[want]++
			if want == invalid {
				continue
			}
			got := []bool{verdicts[profile].denied()}
			if kept != nil { // what Gitward would see, with what the server fills in
				got = append(got, ours.ask(t, creation(kept))[profile].denied())
			}
			for _, denied := range got {
				if denied != (want == denies) {
					differences++
					t.Errorf("%s: %s: the server denies: %v, the policies: %v\n%s", p.name, profile, want == denies, verdicts[profile], must(json.Marshal(p.pod)))
				}
			}
		}
		if differences > 5 {
			t.Fatal("and so on")
		}
	}
	for profile, counted := range count {
		if counted[denies]+counted[takes] < 500 || counted[denies] < 100 || counted[takes] < 100 {
			t.Errorf("%s: too few to prove anything: %v", profile, counted)
		}
		t.Logf("%s: %d pods: %d denied, %d taken, %d not counted, for they are invalid; %d differences",
			profile, len(pods), counted[denies], counted[takes], counted[invalid], differences)
	}
}

// TestServerEphemeral does the same for ephemeral containers, which come by
// update alone, and for updates of pods that were there before their namespace
// was labelled.
func TestServerEphemeral(t *testing.T) {
	c, ours := start(t), load(t)
	good := base(false, []string{"containers"})
	bad := base(true, []string{"containers"})
	set(bad, pod, "hostNetwork", true)
	count := map[answer]int{}
	differences := 0
	for _, profile := range []string{"baseline", "restricted"} {
		c.label(t, profile, "privileged")
		for name, p := range map[string]object{"good": good, "bad": bad} {
			p["metadata"] = object{"name": name}
			await(t, func() error {
				return c.kube.CoreV1().RESTClient().Post().Namespace(profile).Resource("pods").
					SetHeader("Content-Type", "application/json").Body(must(json.Marshal(p))).Do(t.Context()).Error()
			})
		}
		c.label(t, profile, profile)
		await(t, func() error {
			if got, _ := c.create(t, profile, bad); got != denies {
				return apierrors.NewConflict(corev1.Resource("namespaces"), profile, nil)
			}
			return nil
		})
		for _, name := range []string{"good", "bad"} {
			old := c.read(t, profile, name)
			compare := func(what, subresource string, change object) {
				t.Helper()
				updated := copied(old).(object)
				merge(updated, change)
				err := c.kube.CoreV1().RESTClient().Put().Namespace(profile).Resource("pods").Name(name).SubResource(subresource).
					VersionedParams(&metav1.UpdateOptions{DryRun: dry}, metav1.ParameterCodec).
					SetHeader("Content-Type", "application/json").Body(must(json.Marshal(updated))).Do(t.Context()).Error()
				want := answered(t, err)
				count[want]++
				if want == invalid {
					return
				}
				request := creation(updated)
				request["operation"], request["oldObject"] = "UPDATE", old
				if got := ours.ask(t, request)[profile]; got.denied() != (want == denies) {
					differences++
					t.Errorf("%s: %s of %s: the server: %v, the policies: %v", profile, what, name, err, got)
				}
			}
			compare("another image", "", object{"spec": object{"containers": []any{object{"image": "registry.example.com/shop:2"}}}})
			compare("a label", "", object{"metadata": object{"labels": object{"a": "b"}}})
			compare("an annotation", "", object{"metadata": object{"annotations": object{apparmor + "web": "unconfined"}}})
			compare("a deadline", "", object{"spec": object{"activeDeadlineSeconds": 60}})
			compare("a finalizer", "", object{"metadata": object{"finalizers": []any{"example.org/x"}}})
			for _, f := range fields {
				for _, value := range f.values(false) {
					for _, bare := range []bool{true, false} {
						p := base(bare, []string{"ephemeralContainers"})
						set(p, "ephemeralContainers", f.path, value)
						if f.path == "annotation" {
							continue
						}
						compare(f.path, "ephemeralcontainers", object{"spec": object{"ephemeralContainers": p["spec"].(object)["ephemeralContainers"]}})
					}
				}
			}
		}
	}
	if count[denies] < 50 || count[takes] < 50 {
		t.Errorf("too few to prove anything: %v", count)
	}
	t.Logf("%d updates: %d denied, %d taken, %d not counted, for they are invalid; %d differences", count[denies]+count[takes]+count[invalid], count[denies], count[takes], count[invalid], differences)
}

func (c cluster) read(t *testing.T, namespace, name string) object {
	t.Helper()
	var out object
	if err := json.Unmarshal(must(c.kube.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").Name(name).Do(t.Context()).Raw()), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// merge changes an object in place: maps and the members of lists are merged,
// all else is replaced, and lists that were not there are added.
func merge(into, change object) {
	for key, value := range change {
		switch value := value.(type) {
		case object:
			below, ok := into[key].(object)
			if !ok {
				below = object{}
				into[key] = below
			}
			merge(below, value)
		case []any:
			list, ok := into[key].([]any)
			if !ok {
				into[key] = value
				continue
			}
			for i := range value {
				merge(list[i].(object), value[i].(object))
			}
		default:
			into[key] = value
		}
	}
}

// await tries until something is so: a label takes a moment to be heeded.
func await(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 100 {
		if err = try(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
}

// TestServerFillsIn shows the one difference there is for manifests as they
// stand: the API server makes an emptyDir of a volume without a source before
// anybody is asked.
func TestServerFillsIn(t *testing.T) {
	c, ours := start(t), load(t)
	p := base(false, []string{"containers"})
	set(p, pod, "volumes", []any{object{"name": "data"}})
	got, kept := c.create(t, "restricted", p)
	if got != takes {
		t.Fatal("the server does not take it")
	}
	if asKept := ours.ask(t, creation(kept))["restricted"]; asKept.denied() {
		t.Errorf("as the server keeps it: %v", asKept)
	}
	if asIs := ours.ask(t, creation(p))["restricted"]; !asIs["volume_types"] {
		t.Errorf("as it stands: %v", asIs)
	}
}

package attacks

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

// naive is a webhook that wants objects to be in Git, as Gitward does, and makes
// one mistake that a peer makes or made.
type naive struct {
	// mistake says it in words, for the log of the test.
	mistake string
	// excuse lets a request pass that it should have looked at.
	excuse func(r *review) bool
	// same compares what Git has with the object. Nil: each declared field has
	// its value.
	same func(git, object map[string]any) bool
	// configure changes how the API server is told of it. Otherwise it is asked
	// about the creation, change and deletion of the namespace's objects, and not
	// about subresources.
	configure func(*admissionregistrationv1.ValidatingWebhook)
	// maxBody is the largest review it reads; 0: any.
	maxBody int64
	// also are objects it takes for Git's beside those of the test.
	also []string
}

// unasked is a webhook about the objects in namespaces. What is in none it is
// not asked about.
var unasked = &naive{mistake: "not asked about what is in no namespace"}

// noDeletions is Gatekeeper's default.
var noDeletions = &naive{mistake: "not asked about deletions", configure: func(hook *admissionregistrationv1.ValidatingWebhook) {
	hook.Rules[0].Operations = hook.Rules[0].Operations[:2]
}}

// review is a request as a naive webhook sees it.
type review struct {
	*admissionv1.AdmissionRequest
	object, old *unstructured.Unstructured // nil when absent
	git         map[string]any             // what Git has under that name; nil if nothing
}

// naiveServer serves all naive webhooks, each under a path of its own.
type naiveServer struct {
	url    string
	ca     []byte
	server *http.Server

	mu       sync.Mutex
	handlers map[string]http.Handler
}

func newNaiveServer() *naiveServer {
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	pair := must(tls.X509KeyPair(cert, key))
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	s := &naiveServer{url: "https://" + listener.Addr().String(), ca: must(ca, err), handlers: map[string]http.Handler{}}
	s.server = &http.Server{Handler: s, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.ServeTLS(listener, "", "") }()
	return s
}

func (s *naiveServer) close() { s.server.Close() }

func (s *naiveServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.handlers[r.URL.Path]
	s.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h.ServeHTTP(w, r)
}

func (s *naiveServer) handle(path string, h http.Handler) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[path] = h
	return s.url + path
}

// serve answers reviews. git is what it takes for Git's, by collection and name.
func (n *naive) serve(git map[string]map[string]any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		body := hr.Body
		if n.maxBody > 0 {
			body = http.MaxBytesReader(w, body, n.maxBody)
		}
		data, err := io.ReadAll(body)
		var ar admissionv1.AdmissionReview
		if err == nil {
			err = json.Unmarshal(data, &ar)
		}
		if err != nil || ar.Request == nil {
			// As controller-runtime does: an answer without the request's uid, which
			// the API server takes for a failed call.
			answer(w, &admissionv1.AdmissionResponse{Result: &metav1.Status{Code: http.StatusRequestEntityTooLarge, Message: fmt.Sprint(err)}})
			return
		}
		r := &review{AdmissionRequest: ar.Request, object: read(ar.Request.Object.Raw), old: read(ar.Request.OldObject.Raw)}
		r.git = git[r.Resource.Resource+"/"+r.name()]
		response := &admissionv1.AdmissionResponse{UID: r.UID, Allowed: n.allows(r)}
		if !response.Allowed {
			response.Result = &metav1.Status{Code: http.StatusForbidden, Message: "not in Git"}
		}
		answer(w, response)
	})
}

func (r *review) name() string {
	switch {
	case r.Name != "":
		return r.Name
	case r.object != nil:
		return r.object.GetName()
	case r.old != nil:
		return r.old.GetName()
	}
	return ""
}

func answer(w http.ResponseWriter, response *admissionv1.AdmissionResponse) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Response: response})
}

func read(raw []byte) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if len(raw) == 0 || u.UnmarshalJSON(raw) != nil {
		return nil
	}
	return u
}

// allows is the verdict: what has an excuse, what the cluster's own controllers
// do, and otherwise what Git has.
func (n *naive) allows(r *review) bool {
	if n.excuse != nil && n.excuse(r) || strings.HasPrefix(r.UserInfo.Username, "system:serviceaccount:kube-system:") {
		return true
	}
	if r.Operation == admissionv1.Delete || r.Operation == admissionv1.Connect {
		return r.git == nil && r.Operation == admissionv1.Delete
	}
	if r.git == nil || r.object == nil {
		return false
	}
	if n.same != nil {
		return n.same(r.git, r.object.Object)
	}
	return contains(r.object.Object, r.git)
}

// contains reports whether each field of part has its value in whole; the rest
// is nobody's business.
func contains(whole, part any) bool {
	switch p := part.(type) {
	case map[string]any:
		w, ok := whole.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range p {
			if k == "apiVersion" || k == "namespace" {
				continue
			}
			if !contains(w[k], v) {
				return false
			}
		}
		return true
	case []any:
		w, ok := whole.([]any)
		if !ok || len(w) != len(p) {
			return false
		}
		for i := range p {
			if !contains(w[i], p[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(whole, part) || fmt.Sprint(whole) == fmt.Sprint(part)
}

// register puts the naive webhook before a namespace until the test ends, and
// waits until it is seen to refuse there what is not in Git.
func (w *world) register(n *naive) {
	w.t.Helper()
	git := map[string]map[string]any{}
	for _, text := range append(w.documents(), n.also...) {
		u := objectOf(text)
		git[pluralOf(text)+"/"+u.GetName()] = u.Object
	}
	hook := admissionregistrationv1.ValidatingWebhook{
		Name:         w.naive + ".example.org",
		ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new(w.lab.naives.handle("/"+w.naive, n.serve(git))), CABundle: w.lab.naives.ca},
		Rules: []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*"}, Scope: new(admissionregistrationv1.NamespacedScope)},
		}},
		NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.naive}},
		FailurePolicy:           new(admissionregistrationv1.Fail),
		SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
		AdmissionReviewVersions: []string{"v1"},
	}
	if n.configure != nil {
		n.configure(&hook)
	}
	_, err := w.lab.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(context.Background(),
		&admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: w.naive},
			Webhooks: []admissionregistrationv1.ValidatingWebhook{hook}}, metav1.CreateOptions{})
	check(w.t, err)
	w.t.Cleanup(w.unregister)
	plain := post("/api/v1/namespaces/$NS/configmaps", "{apiVersion: v1, kind: ConfigMap, metadata: {name: plain}}")
	server.Await(w.t, "the naive webhook", 20*time.Second, func() error {
		if err := plain.do(w.lab.client(whoIs("namespace editor")), w.naive); !refusedByNaive(err) {
			return fmt.Errorf("the answer is %w", err)
		}
		return nil
	})
}

func (w *world) unregister() {
	err := w.lab.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(context.Background(), w.naive, deleted)
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Error(err)
	}
}

func refusedByNaive(err error) bool {
	return err != nil && strings.Contains(err.Error(), ".example.org\" denied the request")
}

func pluralOf(text string) string {
	path := collection(text)
	return path[strings.LastIndexByte(path, '/')+1:]
}

// knock sends a review straight to a webhook, as anybody on the network can.
func knock(url string, ca []byte, certificate *tls.Certificate, body []byte) (*admissionv1.AdmissionResponse, error) {
	config := rest.TLSClientConfig{CAData: ca}
	if certificate != nil {
		config.CertData, config.KeyData = pemOf(certificate)
	}
	transport := must(rest.TransportFor(&rest.Config{Host: url, TLSClientConfig: config}))
	resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var ar admissionv1.AdmissionReview
	if err := json.Unmarshal(data, &ar); err != nil || ar.Response == nil {
		return nil, errors.Join(fmt.Errorf("status %s: %.200s", resp.Status, data), err)
	}
	return ar.Response, nil
}

// pemOf is a key pair in the form that client-go takes.
func pemOf(pair *tls.Certificate) (cert, key []byte) {
	cert, key, err := gitserver.PEM(*pair)
	if err != nil {
		panic(err)
	}
	return cert, key
}

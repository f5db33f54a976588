package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
)

// The Kubernetes minors that Gitward is made for.
const oldestMinor, newestMinor = 30, 37

// The names of the two webhooks, which the API server shows to people.
const (
	judgeWebhook    = "from-git.gitward.dev"
	annotateWebhook = "annotate.gitward.dev"
)

// cluster looks at the API server and at what has to be installed in it.
func (r *doctorResult) cluster(ctx context.Context, c *clusterReader, now time.Time) {
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	var v *apiversion.Info
	if err == nil {
		v, err = client.ServerVersion()
	}
	if err != nil {
		r.fail("cluster", fmt.Sprintf("%s does not answer: %v", c.config.Host, err), "see that the kubeconfig is right and the cluster up")
		return
	}
	r.serverVersion(c.config.Host, v)
	r.skew(ctx, c.config, now)
	for _, name := range []string{"origins", "gates"} {
		r.crd(ctx, c, name+"."+v1alpha1.GroupVersion.Group)
	}
}

func (r *doctorResult) serverVersion(host string, v *apiversion.Info) {
	minor, err := strconv.Atoi(strings.TrimRight(v.Minor, "+"))
	switch {
	case err != nil || v.Major != "1":
		r.warn("cluster", fmt.Sprintf("%s says it is %q", host, v.GitVersion), fmt.Sprintf("Gitward is made for 1.%d to 1.%d", oldestMinor, newestMinor))
	case minor < oldestMinor:
		r.fail("cluster", fmt.Sprintf("%s at %s is too old", v.GitVersion, host), fmt.Sprintf("Gitward is made for 1.%d to 1.%d", oldestMinor, newestMinor))
	case minor > newestMinor:
		r.warn("cluster", fmt.Sprintf("%s at %s is newer than this Gitward knows", v.GitVersion, host), "look for a newer Gitward: fields it does not know are refused")
	default:
		r.ok("cluster", "%s at %s", v.GitVersion, host)
	}
}

// skew compares our clock with the API server's.
func (r *doctorResult) skew(ctx context.Context, config *rest.Config, now time.Time) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return // told already: the cluster could not have answered
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+"/version", nil)
	if err != nil {
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	resp.Body.Close()
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return
	}
	if d := time.Since(there).Abs(); d > time.Minute {
		r.warn("clock", fmt.Sprintf("it is %s away from the API server's", d.Round(time.Second)), "run NTP here and there")
	}
}

func (r *doctorResult) crd(ctx context.Context, c *clusterReader, name string) {
	var crd apiextensionsv1.CustomResourceDefinition
	err := c.client.Get(ctx, types.NamespacedName{Name: name}, &crd)
	label := "crd " + name
	switch {
	case apierrors.IsNotFound(err):
		r.fail(label, "it is not installed", "kubectl apply -f charts/gitward/crds, or install the chart")
		return
	case err != nil:
		r.fail(label, err.Error(), "see that you may read CustomResourceDefinitions")
		return
	}
	serves := slices.ContainsFunc(crd.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return v.Name == v1alpha1.GroupVersion.Version && v.Served
	})
	established := slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
	switch {
	case !serves:
		r.fail(label, "it does not serve "+v1alpha1.GroupVersion.Version, "install the CRDs of this version")
	case !established:
		r.fail(label, "it is not established", "kubectl describe crd "+name)
	default:
		r.ok(label, "serves %s", v1alpha1.GroupVersion.Version)
	}
}

// hook is what the two kinds of webhook have in common.
type hook struct {
	configuration, name string
	client              admissionregistrationv1.WebhookClientConfig
	rules               []admissionregistrationv1.RuleWithOperations
	failurePolicy       *admissionregistrationv1.FailurePolicyType
	matchPolicy         *admissionregistrationv1.MatchPolicyType
	sideEffects         *admissionregistrationv1.SideEffectClass
	selectors           []string // those that choose
	conditions          []admissionregistrationv1.MatchCondition
}

// choosing names the selectors that choose.
func choosing(namespaces, objects *metav1.LabelSelector) []string {
	var out []string
	for _, s := range []struct {
		name     string
		selector *metav1.LabelSelector
	}{{"namespaceSelector", namespaces}, {"objectSelector", objects}} {
		if s.selector != nil && len(s.selector.MatchLabels)+len(s.selector.MatchExpressions) > 0 {
			out = append(out, s.name)
		}
	}
	return out
}

// webhooks looks for the two webhooks, and at whether they are asked about
// everything.
func (r *doctorResult) webhooks(ctx context.Context, c *clusterReader, deny bool, now time.Time) {
	var validating admissionregistrationv1.ValidatingWebhookConfigurationList
	var mutating admissionregistrationv1.MutatingWebhookConfigurationList
	if err := c.client.List(ctx, &validating); err != nil {
		r.fail("webhooks", err.Error(), "see that you may read webhook configurations")
		return
	}
	if err := c.client.List(ctx, &mutating); err != nil {
		r.fail("webhooks", err.Error(), "see that you may read webhook configurations")
		return
	}
	var hooks []hook
	for _, conf := range validating.Items {
		for _, w := range conf.Webhooks {
			hooks = append(hooks, hook{conf.Name, w.Name, w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.SideEffects,
				choosing(w.NamespaceSelector, w.ObjectSelector), w.MatchConditions})
		}
	}
	for _, conf := range mutating.Items {
		for _, w := range conf.Webhooks {
			hooks = append(hooks, hook{conf.Name, w.Name, w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.SideEffects,
				choosing(w.NamespaceSelector, w.ObjectSelector), w.MatchConditions})
		}
	}
	r.judge(hooks, deny, now)
	r.annotator(hooks, now)
	var conditions []admissionregistrationv1.MatchCondition
	if h := named(hooks, judgeWebhook); h != nil {
		conditions = h.conditions
	}
	r.guard(ctx, c, conditions)
}

func named(hooks []hook, name string) *hook {
	i := slices.IndexFunc(hooks, func(h hook) bool { return h.name == name })
	if i < 0 {
		return nil
	}
	return &hooks[i]
}

// judge looks at the validating webhook. Whatever lets a request past it
// unasked is wrong where a Gate denies.
func (r *doctorResult) judge(hooks []hook, deny bool, now time.Time) {
	label, h := "webhook "+judgeWebhook, named(hooks, judgeWebhook)
	if h == nil {
		r.fail(label, "no ValidatingWebhookConfiguration has it: nothing is judged", "install the chart, or apply its webhook configurations")
		return
	}
	before := len(r.Items)
	if missing := h.uncovered(); len(missing) > 0 {
		r.fail(label, "its rules leave out "+strings.Join(missing, ", "), "let the rules name all groups, versions and resources with subresources (*/*), in every scope, for CREATE, UPDATE, DELETE and CONNECT")
	}
	if h.failurePolicy != nil && *h.failurePolicy == admissionregistrationv1.Ignore {
		if deny {
			r.fail(label, "failurePolicy Ignore: while Gitward is away, everything passes, though a Gate denies", "set failurePolicy: Fail")
		} else {
			r.ok(label, "failurePolicy Ignore, as no Gate denies")
		}
	}
	if h.matchPolicy != nil && *h.matchPolicy != admissionregistrationv1.Equivalent {
		r.warn(label, "matchPolicy "+string(*h.matchPolicy)+": an older API version may be a way round", "set matchPolicy: Equivalent")
	}
	if h.sideEffects != nil && *h.sideEffects != admissionregistrationv1.SideEffectClassNoneOnDryRun {
		r.warn(label, "sideEffects "+string(*h.sideEffects), "set sideEffects: NoneOnDryRun: a decision leaves a record, a dry run none")
	}
	for _, s := range h.selectors {
		r.fail(label, "it has "+article[s]+": a label takes objects out of its sight", "remove the "+s)
	}
	r.conditions(label, h)
	r.certificates(label, h.client.CABundle, now)
	if len(r.Items) == before {
		r.ok(label, "asked about everything, in %s", h.configuration)
	}
}

var article = map[string]string{"namespaceSelector": "a namespaceSelector", "objectSelector": "an objectSelector"}

// conditions holds the judge's against the chart's: each says what nobody is asked
// about.
func (r *doctorResult) conditions(label string, h *hook) {
	strange, missing, err := unlike(h.conditions)
	if err != nil {
		r.fail(label, "its conditions cannot be held against the chart's: "+err.Error(), reinstall)
		return
	}
	if len(strange) > 0 {
		r.fail(label, "its conditions are not the chart's, so that something passes unasked: "+gitindex.Clean(strings.Join(strange, ", "), 300), reinstall)
	}
	if len(missing) > 0 {
		r.warn(label, "it lacks conditions of the chart's: "+strings.Join(missing, ", ")+"; the cluster may not come up while Gitward is down", reinstall)
	}
}

func (r *doctorResult) annotator(hooks []hook, now time.Time) {
	label, h := "webhook "+annotateWebhook, named(hooks, annotateWebhook)
	if h == nil {
		r.warn(label, "no MutatingWebhookConfiguration has it: objects are not stamped with where they come from", "install the chart, or apply its webhook configurations")
		return
	}
	if h.failurePolicy == nil || *h.failurePolicy == admissionregistrationv1.Fail {
		r.warn(label, "failurePolicy Fail: it only writes stamps, and must stop nothing", "set failurePolicy: Ignore")
	}
	r.certificates(label, h.client.CABundle, now)
	r.ok(label, "installed, in %s", h.configuration)
}

// uncovered lists the operations that the rules do not have for everything.
func (h *hook) uncovered() []string {
	var out []string
	for _, op := range []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete, admissionregistrationv1.Connect} {
		if !slices.ContainsFunc(h.rules, func(r admissionregistrationv1.RuleWithOperations) bool {
			return has(r.Operations, op, admissionregistrationv1.OperationAll) && has(r.APIGroups, "*") && has(r.APIVersions, "*") && has(r.Resources, "*/*") &&
				(r.Scope == nil || *r.Scope == admissionregistrationv1.AllScopes)
		}) {
			out = append(out, string(op))
		}
	}
	return out
}

// has reports whether a list holds one of the wanted.
func has[T comparable](list []T, wanted ...T) bool {
	return slices.ContainsFunc(list, func(v T) bool { return slices.Contains(wanted, v) })
}

// certificates looks at a caBundle. An empty one means the system's roots,
// which no in-cluster service has a certificate of.
func (r *doctorResult) certificates(label string, bundle []byte, now time.Time) {
	if len(bundle) == 0 {
		r.warn(label, "it has no caBundle: the API server cannot know Gitward's certificate", "see that whoever makes the certificates (cert-manager, the chart) writes caBundle")
		return
	}
	read := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			r.fail(label, "a certificate in its caBundle does not parse", "write caBundle anew")
		case now.After(cert.NotAfter):
			r.fail(label, "a certificate in its caBundle expired "+minute(cert.NotAfter), "renew it")
		case cert.NotAfter.Sub(now) < soon:
			r.warn(label, "a certificate in its caBundle expires "+minute(cert.NotAfter), "renew it in time")
		case now.Before(cert.NotBefore):
			r.fail(label, "a certificate in its caBundle is not valid before "+minute(cert.NotBefore), "compare the clocks")
		}
		read++
	}
	if read == 0 {
		r.fail(label, "its caBundle holds no certificate", "write caBundle anew")
	}
}

// ready asks the service whether it can decide.
func (r *doctorResult) ready(ctx context.Context, url string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		r.fail("service", err.Error(), "give --readyz as http://HOST:PORT/readyz")
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.fail("service", err.Error(), "see that the service runs, and its health port can be reached")
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // the status says enough
		r.fail("service", fmt.Sprintf("%s: %s", resp.Status, gitindex.Clean(strings.TrimSpace(string(text)), 150)), "look into its log: it says what it waits for")
		return
	}
	r.ok("service", "ready")
}

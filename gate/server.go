package gate

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Server: only the API server can have set it.
//
// Two proofs count. A value that the server computes from the request may be
// recomputed here: a Namespace's name label, a Pod's token volume. A value that
// the server chooses (a cluster IP, a node port) cannot; there the proof is that
// the requester did not send the field. The server notes what a request sets in
// metadata.managedFields before it allocates anything, so a field that is there
// and that no manager owns was put there by the server itself. An object whose
// managedFields were wiped proves nothing.

// serverMetadata are fields of metadata that no request can set, whatever it
// sends. They are taken off both states before anything is compared.
var serverMetadata = []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
	"selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"}

// serverRule says when the value at one path is the server's own.
type serverRule struct {
	kind  string // Kind or Kind.group
	path  string // pattern as pathPattern writes it
	holds func(c *comparison, v values) bool
}

var serverRules = indexServerRules([]serverRule{
	{"Namespace", "metadata.labels[kubernetes.io/metadata.name]", isName},
	{"Namespace", "spec", isNamespaceSpec},
	{"Namespace", "spec.finalizers", isNamespaceFinalizers},

	{"Service", "spec.clusterIP", allocated},
	{"Service", "spec.clusterIPs", allocated},
	{"Service", "spec.ipFamilies", allocated},
	{"Service", "spec.ipFamilyPolicy", allocated},
	{"Service", "spec.ports[].nodePort", allocated},
	{"Service", "spec.healthCheckNodePort", allocated},

	{"PersistentVolumeClaim", "metadata.finalizers", finalizer("kubernetes.io/pvc-protection")},
	{"PersistentVolumeClaim", "spec.storageClassName", allocated},
	{"PersistentVolumeClaim", "spec.dataSource", sameDataSource},
	{"PersistentVolumeClaim", "spec.dataSourceRef", sameDataSource},
	{"PersistentVolume", "metadata.finalizers", finalizer("kubernetes.io/pv-protection")},
	{"VolumeAttributesClass.storage.k8s.io", "metadata.finalizers", finalizer("kubernetes.io/vac-protection")},

	{"Ingress.networking.k8s.io", "spec.ingressClassName", allocated},
	{"CustomResourceDefinition.apiextensions.k8s.io", "metadata.finalizers", finalizer("customresourcecleanup.apiextensions.k8s.io")},
	{"DaemonSet.apps", "metadata.annotations[deprecated.daemonset.template.generation]", templateGeneration},

	{"Job.batch", "spec.selector", jobSelector},
	{"Job.batch", "spec.template.metadata.labels[batch.kubernetes.io/controller-uid]", isUID},
	{"Job.batch", "spec.template.metadata.labels.controller-uid", isUID},
	{"Job.batch", "spec.template.metadata.labels[batch.kubernetes.io/job-name]", isName},
	{"Job.batch", "spec.template.metadata.labels.job-name", isName},
	{"Job.batch", "metadata.labels[batch.kubernetes.io/controller-uid]", isUID},
	{"Job.batch", "metadata.labels[batch.kubernetes.io/job-name]", isName},
	{"Job.batch", "metadata.labels.job-name", isName},
	{"Job.batch", "metadata.labels.controller-uid", isUID},

	{"Pod", "spec.serviceAccountName", isDefaultAccount},
	{"Pod", "spec.serviceAccount", isDefaultAccount},
	{"Pod", "spec.volumes[]", isTokenVolume},
	{"Pod", "spec.containers[].volumeMounts[]", isTokenMount},
	{"Pod", "spec.initContainers[].volumeMounts[]", isTokenMount},
	{"Pod", "spec.imagePullSecrets", allocated},
	{"Pod", "spec.tolerations", defaultTolerations},
	{"Pod", "spec.priority", allocated},
	{"Pod", "spec.priorityClassName", allocated},
	{"Pod", "spec.preemptionPolicy", allocated},
	{"Pod", "spec.overhead", allocated},
	{"Pod", "spec.nodeName", isBound},
	{"Pod", "spec.nodeSelector", ofRuntimeClass},
	{"Pod", "metadata.annotations[kubernetes.io/limit-ranger]", allocated},
	{"Node", "spec.taints", isNotReady},
	{"CertificateSigningRequest.certificates.k8s.io", "spec.username", allocated},
	{"CertificateSigningRequest.certificates.k8s.io", "spec.uid", allocated},
	{"CertificateSigningRequest.certificates.k8s.io", "spec.groups", allocated},
	{"CertificateSigningRequest.certificates.k8s.io", "spec.extra", allocated},
})

func indexServerRules(rules []serverRule) map[string]map[string]serverRule {
	// LimitRanger fills in a Pod's resources at any depth.
	for _, list := range []string{"containers", "initContainers"} {
		for _, field := range []string{"", ".limits", ".requests", ".limits.cpu", ".limits.memory", ".limits.ephemeral-storage",
			".requests.cpu", ".requests.memory", ".requests.ephemeral-storage"} {
			rules = append(rules, serverRule{"Pod", "spec." + list + "[].resources" + field, allocated})
		}
	}
	index := map[string]map[string]serverRule{}
	for _, r := range rules {
		if index[r.kind] == nil {
			index[r.kind] = map[string]serverRule{}
		}
		index[r.kind][r.path] = r
	}
	return index
}

func serverReason(c *comparison, v values) bool {
	rules := serverRules[c.subject.ref.GroupKind()]
	if rules == nil {
		return false
	}
	rule, ok := rules[pathPattern(c.path)]
	return ok && rule.holds(c, v)
}

// allocated: Git is silent, no manager ever sent the field, and it is new or as
// it was: the server allocates once and keeps.
func allocated(c *comparison, v values) bool {
	kept := v.old == absent || equal(v.old, v.new)
	return v.want == absent && kept && !c.subject.managed.claims(c.path)
}

// isBound: the scheduler put the Pod on a Node, through a binding, which is
// judged by itself; no later request can move it.
func isBound(_ *comparison, v values) bool {
	return v.want == absent && v.old != absent && equal(v.old, v.new)
}

// ofRuntimeClass: the RuntimeClass plugin adds its class' node selector to Git's.
func ofRuntimeClass(c *comparison, v values) bool {
	if text(dig(c.want, "spec", "runtimeClassName")) == "" {
		return false
	}
	n, _ := v.new.(map[string]any)
	w, _ := v.want.(map[string]any)
	for k, wanted := range w {
		if !equal(at(n, k), wanted) {
			return false
		}
	}
	for k, value := range n {
		kept := v.old == absent || equal(at(v.old, k), value)
		if _, declared := w[k]; !declared && (!kept || c.subject.managed.claims(append(slices.Clone(c.path), segment{name: k}))) {
			return false
		}
	}
	return len(n) > 0
}

// isNotReady: a new Node has the taint that the TaintNodesByCondition plugin gives
// it, beside Git's. Later it may stay; whoever puts it on then is not the server.
func isNotReady(c *comparison, v values) bool {
	if c.subject.old != nil && !equal(v.old, v.new) {
		return false
	}
	notReady := map[string]any{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
	n := asList(v.new)
	rest := slices.DeleteFunc(slices.Clone(n), func(t any) bool { return equal(t, notReady) })
	return len(n)-len(rest) == 1 && slices.EqualFunc(rest, asList(v.want), equal)
}

func isName(c *comparison, v values) bool {
	return v.want == absent && v.new == any(c.subject.ref.Name)
}

func isUID(c *comparison, v values) bool {
	return v.want == absent && c.subject.uid != "" && v.new == any(c.subject.uid)
}

func isNamespaceSpec(c *comparison, v values) bool {
	m, ok := v.new.(map[string]any)
	return v.want == absent && ok && len(m) == 1 && isNamespaceFinalizers(c, values{new: at(v.new, "finalizers"), want: absent})
}

func isNamespaceFinalizers(_ *comparison, v values) bool {
	return v.want == absent && equal(v.new, []any{"kubernetes"})
}

// finalizer: the list is Git's, and one of the server's own finalizers.
func finalizer(name string) func(*comparison, values) bool {
	return func(_ *comparison, v values) bool {
		n := asList(v.new)
		rest := slices.DeleteFunc(slices.Clone(n), func(f any) bool { return f == any(name) })
		return len(n)-len(rest) == 1 && slices.EqualFunc(rest, asList(v.want), equal)
	}
}

// templateGeneration: the server counts a DaemonSet's templates, from 1, and
// shows the count as an annotation of the first API versions. It does so before
// it notes who set what, so managed fields are no evidence here.
func templateGeneration(_ *comparison, v values) bool {
	if v.want != absent {
		return false
	}
	before := 0
	if v.old != absent {
		var err error
		if before, err = strconv.Atoi(text(v.old)); err != nil {
			return false
		}
	}
	now, err := strconv.Atoi(text(v.new))
	// A request that says nothing of it arrives with 0, and is counted later.
	return err == nil && (now == 0 || now == before || now == before+1)
}

// sameDataSource: the server fills dataSource and dataSourceRef from each other.
func sameDataSource(c *comparison, v values) bool {
	spec := dig(c.subject.new, "spec")
	a, b := at(spec, "dataSource"), at(spec, "dataSourceRef")
	return v.want == absent && (equal(a, b) || a == absent || b == absent) && !c.subject.managed.claims(c.path)
}

// jobSelector: the selector that the server makes from the Job's own uid.
func jobSelector(c *comparison, v values) bool {
	uid := any(c.subject.uid)
	return v.want == absent && c.subject.uid != "" &&
		equal(v.new, map[string]any{"matchLabels": map[string]any{"batch.kubernetes.io/controller-uid": uid}})
}

// isDefaultAccount: the only account that the ServiceAccount plugin fills in.
// Managed fields are no evidence here: serviceAccount is another name of
// serviceAccountName, and whoever sends one of them owns only that one.
func isDefaultAccount(_ *comparison, v values) bool {
	return v.want == absent && v.new == any("default")
}

var tokenVolumeName = regexp.MustCompile(`^kube-api-access-[a-z0-9]{5}$`)

// isTokenVolume: the projected volume that the ServiceAccount admission plugin
// adds, which is the same for every Pod but for its name.
func isTokenVolume(c *comparison, v values) bool {
	name := text(at(v.new, "name"))
	if v.want != absent || !tokenVolumeName.MatchString(name) || c.subject.managed.claims(c.path) {
		return false
	}
	return equal(v.new, map[string]any{"name": name, "projected": map[string]any{
		"defaultMode": int64(0o644),
		"sources": []any{
			map[string]any{"serviceAccountToken": map[string]any{"expirationSeconds": int64(3607), "path": "token"}},
			map[string]any{"configMap": map[string]any{"name": "kube-root-ca.crt",
				"items": []any{map[string]any{"key": "ca.crt", "path": "ca.crt"}}}},
			map[string]any{"downwardAPI": map[string]any{"items": []any{map[string]any{"path": "namespace",
				"fieldRef": map[string]any{"apiVersion": "v1", "fieldPath": "metadata.namespace"}}}}},
		}}})
}

// isTokenMount: where the same plugin mounts it.
func isTokenMount(c *comparison, v values) bool {
	name := text(at(v.new, "name"))
	return v.want == absent && tokenVolumeName.MatchString(name) && !c.subject.managed.claims(c.path) && equal(v.new, map[string]any{
		"name": name, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"})
}

// defaultTolerations: Git's tolerations, and after them, in its order, those of
// the two that the DefaultTolerationSeconds plugin adds which Git's do not cover.
func defaultTolerations(c *comparison, v values) bool {
	n, w := asList(v.new), asList(v.want)
	if text(dig(c.want, "spec", "runtimeClassName")) != "" && allocated(c, v) {
		return true // the class' own, merged in
	}
	if len(n) < len(w) || !slices.EqualFunc(n[:len(w)], w, equal) {
		return false
	}
	rest := n[len(w):]
	for _, condition := range []string{"not-ready", "unreachable"} {
		if len(rest) > 0 && equal(rest[0], toleration(condition)) && !tolerated(w, condition) {
			rest = rest[1:]
		}
	}
	return len(rest) == 0
}

// tolerated reports whether the list tolerates a node condition already, as the
// plugin sees it.
func tolerated(list []any, condition string) bool {
	return slices.ContainsFunc(list, func(t any) bool {
		key, effect := text(at(t, "key")), text(at(t, "effect"))
		return (key == "node.kubernetes.io/"+condition || key == "") && (effect == "NoExecute" || effect == "")
	})
}

func toleration(condition string) map[string]any {
	return map[string]any{"key": "node.kubernetes.io/" + condition, "operator": "Exists", "effect": "NoExecute",
		"tolerationSeconds": int64(300)}
}

// managedFields is what the managers of an object are known to have set. It is
// read when first asked for.
type managedFields struct {
	entries any              // as the object has them, perhaps unread
	sets    []map[string]any // FieldsV1, decoded
	read    bool
}

func managedFieldsOf(obj map[string]any) *managedFields {
	return &managedFields{entries: dig(obj, "metadata", "managedFields")}
}

func (m *managedFields) all() []map[string]any {
	if m.read {
		return m.sets
	}
	m.read = true
	if u, ok := m.entries.(unread); ok {
		m.entries = u.read()
	}
	for _, e := range asList(m.entries) {
		if f, ok := at(e, "fieldsV1").(map[string]any); ok {
			m.sets = append(m.sets, f)
		}
	}
	return m.sets
}

// claims reports whether some manager owns the field at path, or whether that
// cannot be told: an object without managed fields claims everything.
func (m *managedFields) claims(path []segment) bool {
	sets := m.all()
	if len(sets) == 0 {
		return true
	}
	for _, set := range sets {
		if claims(set, path) {
			return true
		}
	}
	return false
}

func claims(set map[string]any, path []segment) bool {
	var v any = set
	for i, seg := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return true // not a set as Kubernetes writes it
		}
		if i > 0 && len(m) == 0 {
			return true // an atomic value is owned as a whole
		}
		if seg.position {
			return true // the server names items by key, so whose it is cannot be told
		}
		next := at(m, "f:"+seg.name)
		if seg.item {
			next = itemSet(m, seg.name)
		}
		if next == absent {
			return false
		}
		v = next
	}
	return true
}

// itemSet finds a list item's set by its key: k:{"name":"web"}, v:"x".
func itemSet(m map[string]any, key string) any {
	for name, set := range m {
		switch {
		case strings.HasPrefix(name, "k:"):
			var fields map[string]any
			if json.Unmarshal([]byte(name[2:]), &fields) == nil && keyMatches(fields, key) {
				return set
			}
		case strings.HasPrefix(name, "v:"):
			var v any
			if json.Unmarshal([]byte(name[2:]), &v) == nil {
				if s, ok := scalar(v); ok && s == key {
					return set
				}
			}
		}
	}
	return absent
}

// keyMatches compares a managed-fields key with an item's key, which joins its
// values in the schema's order; any order is good enough to find the owner, for
// finding one too many only refuses more.
func keyMatches(fields map[string]any, key string) bool {
	parts := strings.Split(key, ",")
	if len(parts) != len(fields) {
		return len(fields) > len(parts)
	}
	for _, v := range fields {
		s, ok := scalar(v)
		if !ok || !slices.Contains(parts, s) {
			return false
		}
	}
	return true
}

package gate

import (
	"errors"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// Verb is the rule for one kind of request. What has none is refused by name.
type Verb struct {
	Operation Operation
	// Resource with its subresource: "pods/exec"; "*" is any resource.
	Resource string
	// Rule in one sentence, for the docs.
	Rule   string
	decide func(*tracing) Decision
}

// Verbs are the rules for all kinds of requests, in the order of the docs.
func Verbs() []Verb { return verbTable }

var verbTable = []Verb{
	{Create, "*", "Every field is Git's or has another reason; or the object is derived, Kubernetes' own, or break-glass.", write},
	{Update, "*", "Every change is Git's or has another reason; or it is its controller's, or break-glass.", write},
	{Delete, "*", "Git no longer declares it, or lets it be made anew, or its namespace is going away. Also each object of a collection.", remove},
	{Update, "*/status", "The status is the controllers'; metadata stay as they are, but for what a controller writes there.", status},
	{Update, "*/scale", "The number is Git's, or a declared HorizontalPodAutoscaler's within its bounds, or a field rule's.", scale},
	{Create, "pods/eviction", "As the deletion of the Pod.", evict},
	{Create, "pods/binding", "The scheduler, without stamps; others by allowVerbs.", bind},
	{Create, "bindings", "The scheduler, without stamps.", bind},
	{Create, "serviceaccounts/token", "A kubelet for a Pod of its Node, kube-controller-manager for its controllers; others by allowVerbs.", token},
	{Connect, "pods/exec", "By allowVerbs, or while break-glass is open for the Pod.", session},
	{Connect, "pods/attach", "By allowVerbs, or while break-glass is open for the Pod.", session},
	{Connect, "pods/portforward", "By allowVerbs, or while break-glass is open for the Pod.", session},
	{Connect, "pods/proxy", "By allowVerbs, or while break-glass is open for the Pod.", session},
	{Connect, "services/proxy", "By allowVerbs.", session},
	{Connect, "nodes/proxy", "By allowVerbs.", session},
	{Update, "pods/ephemeralcontainers", "By allowVerbs, or while break-glass is open for the Pod.", session},
	{Update, "pods/resize", "By allowVerbs, or while break-glass is open for the Pod.", session},
	{Update, "namespaces/finalize", "The namespace controller, for a Namespace that is being deleted.", finalize},
	{Update, "certificatesigningrequests/approval", "kube-controller-manager's approver; others by allowVerbs.", approve},
	{Create, "tokenreviews.authentication.k8s.io", "Asks and changes nothing.", ask},
	{Create, "selfsubjectreviews.authentication.k8s.io", "Asks and changes nothing.", ask},
	{Create, "subjectaccessreviews.authorization.k8s.io", "Asks and changes nothing.", ask},
	{Create, "localsubjectaccessreviews.authorization.k8s.io", "Asks and changes nothing.", ask},
	{Create, "selfsubjectaccessreviews.authorization.k8s.io", "Asks and changes nothing.", ask},
	{Create, "selfsubjectrulesreviews.authorization.k8s.io", "Asks and changes nothing.", ask},
}

type verbKey struct {
	op       Operation
	resource string
}

var verbs = func() map[verbKey]*Verb {
	m := map[verbKey]*Verb{}
	for i := range verbTable {
		m[verbKey{verbTable[i].Operation, verbTable[i].Resource}] = &verbTable[i]
	}
	return m
}()

// RuleFor finds the rule for a request: that of its resource, else that of its
// subresource, else that of its operation; nil when there is none. It reads the
// Operation, Resource, ResourceGroup and SubResource.
func RuleFor(req *Request) *Verb {
	exact, general := req.resource(), "*"
	if req.SubResource != "" {
		exact, general = req.Resource+"/"+req.SubResource, "*/"+req.SubResource
	}
	if rule := verbs[verbKey{req.Operation, exact}]; rule != nil && (req.SubResource == "" || builtIn(req)) {
		return rule
	}
	return verbs[verbKey{req.Operation, general}]
}

// builtIn reports a resource of Kubernetes itself among those that have a
// subresource's rule by name: another group may have a resource "pods" too.
func builtIn(req *Request) bool {
	switch req.Resource {
	case "certificatesigningrequests":
		return req.ResourceGroup == "certificates.k8s.io"
	case "pods", "services", "nodes", "namespaces", "serviceaccounts":
		return req.ResourceGroup == ""
	}
	return false
}

func ask(*tracing) Decision { return Decision{Reason: NoChange} }

// session decides what no file in Git can declare.
func session(t *tracing) Decision {
	if r := t.movedStamp(); r != nil {
		return Decision{Refusal: r}
	}
	if t.allowsVerb() {
		return Decision{Reason: ByRule}
	}
	pod := gitindex.Ref{Kind: "Pod", Namespace: t.req.Namespace, Name: t.req.Name}
	d := Decision{Refusal: verbNotAllowed(t.req)}
	if t.req.Resource == "pods" {
		return t.brokenFor(pod, d)
	}
	return d
}

// movedStamp refuses a write to a subresource that would change a stamp.
func (t *tracing) movedStamp() *Refusal {
	if t.req.Operation != Update {
		return nil
	}
	o, err := t.req.decode()
	switch {
	case err != nil || o.new == nil || o.old == nil:
		return unreadable(t.req, orNoObject(err))
	case o.same():
		return nil
	}
	was, now := strip(o.old, false), strip(o.new, false)
	for _, k := range append(sortedKeys(now), sortedKeys(was)...) {
		if was[k] != now[k] {
			return badStamp(t.req, k, ForgedStamp)
		}
	}
	return nil
}

// bind lets the scheduler place Pods. The API server copies a binding's
// annotations to the Pod, so that none of them may be a stamp.
func bind(t *tracing) Decision {
	o, err := t.req.decode()
	if err != nil || o.new == nil {
		return Decision{Refusal: unreadable(t.req, orNoObject(err))}
	}
	if stamps := strip(o.new, false); len(stamps) > 0 {
		return Decision{Refusal: badStamp(t.req, sortedKeys(stamps)[0], ForgedStamp)}
	}
	if t.req.User.isOneOf([]string{scheduler, accountPrefix + "kube-system:kube-scheduler"}) {
		return Decision{Reason: ByController}
	}
	return session(t)
}

// token hands out identities: to kubelets for the Pods that run on them, and to
// kube-controller-manager for its own controllers.
func token(t *tracing) Decision {
	o, err := t.req.decode()
	if err != nil || o.new == nil {
		return Decision{Refusal: unreadable(t.req, orNoObject(err))}
	}
	bound := dig(o.new, "spec", "boundObjectRef")
	switch u := &t.req.User; {
	case u.node() != "" && text(at(bound, "kind")) == "Pod" && text(at(bound, "uid")) != "":
		return Decision{Reason: Platform}
	case u.isOneOf([]string{controllerManager}) && t.req.Namespace == "kube-system":
		return Decision{Reason: Platform}
	}
	return session(t)
}

// finalize ends a Namespace that is being deleted.
func finalize(t *tracing) Decision {
	o, err := t.req.decode()
	if err != nil || o.new == nil || o.old == nil {
		return Decision{Refusal: unreadable(t.req, orNoObject(err))}
	}
	if dig(o.old, "metadata", "deletionTimestamp") == absent || !t.req.User.isOneOf(controllers("namespace-controller")) {
		return session(t)
	}
	for _, obj := range []map[string]any{o.old, o.new} {
		strip(obj, true)
		delete(obj, "spec")
	}
	if !equal(at(o.old, "metadata"), at(o.new, "metadata")) {
		return Decision{Refusal: noRule(t.req)}
	}
	return Decision{Reason: ByController}
}

// approve lets kube-controller-manager approve the kubelets' own requests.
func approve(t *tracing) Decision {
	if t.req.User.isOneOf(controllers("certificate-controller")) {
		return status(t)
	}
	return session(t)
}

// evict is a deletion that asks the disruption budgets first.
func evict(t *tracing) Decision {
	ref := gitindex.Ref{Kind: "Pod", Namespace: t.req.Namespace, Name: t.req.Name}
	if ref.Name == "" {
		return Decision{Refusal: unreadable(t.req, errors.New("the eviction names no Pod"))}
	}
	return t.brokenFor(ref, t.removal(ref, nil))
}

// remove decides DELETE: what Git still declares stays. In a collection
// deletion the request has no name; then the old object tells it.
func remove(t *tracing) Decision {
	ref := t.req.Ref()
	old, err := decodeObject(t.req.OldObject)
	if err != nil {
		return Decision{Refusal: unreadable(t.req, err)}
	}
	if ref.Name == "" {
		ref.Name = text(dig(old, "metadata", "name"))
	}
	if ref.Name == "" {
		return Decision{Refusal: unreadable(t.req, errors.New("the deletion names no object"))}
	}
	return t.brokenFor(ref, t.removal(ref, old))
}

func (t *tracing) removal(ref gitindex.Ref, old map[string]any) Decision {
	if r := t.notReady(); r != nil {
		return Decision{Refusal: r}
	}
	if t.namespaceEnds(ref) || t.wornOut(ref, old) {
		return Decision{Reason: ByController}
	}
	removed := false
	var anew *gitindex.Manifest
	for i := range t.rule.Origins {
		source := &t.rule.Origins[i]
		s := t.view.Index[source.Origin]
		e := s.Lookup(ref)
		if current := t.declaring(source, e, ref); len(current) > 0 {
			if anew = t.recreated(ref, old, current); anew == nil {
				return Decision{Refusal: stillInGit(ref, current[0], e), Manifest: current[0]}
			}
		}
		if m := t.perhaps(source, e, ref); m != nil {
			return Decision{Refusal: perhapsInGit(ref, m), Manifest: m}
		}
		removed = removed || e != nil && len(e.Past) > 0
		if r := takesAlong(source, s, ref, old); r != nil {
			return Decision{Refusal: r}
		}
	}
	if anew != nil {
		return Decision{Reason: ByGit, Manifest: anew}
	}
	if r := t.keepsDeployed(ref, old); r != nil {
		return Decision{Refusal: r}
	}
	if isOwnKind(ref) && !removed {
		return Decision{Refusal: ownDeletion(ref)}
	}
	return Decision{Reason: NotDeclared}
}

// declaring lists the current manifests of an Origin that may declare the object.
func (t *tracing) declaring(source *Source, e *gitindex.Entry, ref gitindex.Ref) []*gitindex.Manifest {
	if e == nil || !source.Fills(ref) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(e.Current), func(m *gitindex.Manifest) bool { return !t.vouched(m, ref) })
}

// perhaps is one of those that may still declare it, but are not known now.
func (t *tracing) perhaps(source *Source, e *gitindex.Entry, ref gitindex.Ref) *gitindex.Manifest {
	if e == nil || !source.Fills(ref) {
		return nil
	}
	for _, m := range e.Unsure {
		if t.vouched(m, ref) {
			return m
		}
	}
	return nil
}

// isOwnKind reports what Gitward itself decides by. Its deletion would open the
// gate, so that it is Git's alone even where Git never declared it.
func isOwnKind(ref gitindex.Ref) bool {
	return ref.Group == "gitward.dev" || ref.GroupKind() == "CustomResourceDefinition.apiextensions.k8s.io" && strings.HasSuffix(ref.Name, ".gitward.dev")
}

// namespaceEnds reports that the namespace controller clears a Namespace whose
// deletion was admitted, or that the garbage collector follows it.
func (t *tracing) namespaceEnds(ref gitindex.Ref) bool {
	if ref.Namespace == "" || t.view.Live == nil || !t.req.User.isOneOf(controllers("namespace-controller")) {
		return false
	}
	namespace := t.view.Live.Find(gitindex.Ref{Kind: "Namespace", Name: ref.Namespace})
	return namespace != nil && namespace.Deleting
}

// deleters take away what has had its time, also where Git declares it: a Pod
// whose Node is gone or that ended, a Job that finished. Who they are is not
// enough: the object must look it.
var deleters = map[string]struct {
	by   []string
	over func(old map[string]any) bool
}{
	"Pod": {append(controllers("pod-garbage-collector", "node-controller", "device-taint-eviction-controller"),
		scheduler), podIsOver},
	"Job.batch": {controllers("ttl-after-finished-controller"), jobIsOver},
}

func (t *tracing) wornOut(ref gitindex.Ref, old map[string]any) bool {
	u := &t.req.User
	if ref.GroupKind() == "Pod" && u.node() != "" && text(dig(old, "spec", "nodeName")) == u.node() {
		return true
	}
	d, ok := deleters[ref.GroupKind()]
	return ok && old != nil && u.isOneOf(d.by) && d.over(old)
}

func podIsOver(old map[string]any) bool {
	phase := text(dig(old, "status", "phase"))
	return text(dig(old, "spec", "nodeName")) != "" || phase == "Succeeded" || phase == "Failed" || dig(old, "metadata", "deletionTimestamp") != absent
}

func jobIsOver(old map[string]any) bool {
	if dig(old, "spec", "ttlSecondsAfterFinished") == absent {
		return false
	}
	return hasCondition(old, "Complete") || hasCondition(old, "Failed")
}

// takesAlong refuses the deletion of what others live in: with a Namespace go
// the objects in it, and with a CustomResourceDefinition the objects of its
// kind, the latter without any request that could be refused.
func takesAlong(source *Source, s *gitindex.Snapshot, ref gitindex.Ref, old map[string]any) *Refusal {
	switch ref.GroupKind() {
	case "Namespace":
		if n := s.Declares(ref.Name); n > 0 && source.Fills(gitindex.Ref{Namespace: ref.Name}) {
			return namespaceInUse(ref, s, n)
		}
	case "CustomResourceDefinition.apiextensions.k8s.io":
		kind := gitindex.Ref{Group: text(dig(old, "spec", "group")), Kind: text(dig(old, "spec", "names", "kind"))}
		if n := s.DeclaresKind(kind.Group, kind.Kind); n > 0 {
			return kindInUse(ref, s, n)
		}
	}
	return nil
}

// status decides writes to the status subresource. The status itself is the
// controllers' business; but most kinds let such a request write metadata too,
// so metadata must stay as it is, but for what a controller writes there.
func status(t *tracing) Decision {
	o, err := t.req.decode()
	if err != nil || o.new == nil || o.old == nil {
		return Decision{Refusal: unreadable(t.req, orNoObject(err))}
	}
	s := newSubject(t.view.Schemas, t.req, o)
	for _, k := range append(sortedKeys(s.newStamps), sortedKeys(s.oldStamps)...) {
		now, has := s.newStamps[k]
		if was, had := s.oldStamps[k]; has != had || now != was {
			return Decision{Refusal: badStamp(t.req, k, ForgedStamp)}
		}
	}
	if equal(at(s.old, "metadata"), at(s.new, "metadata")) {
		return Decision{Reason: NoChange}
	}
	c := t.changes(s.onlyMetadata())
	if len(c.violations) > 0 {
		return Decision{Refusal: metadataThroughStatus(t.req, s)}
	}
	return Decision{Reason: ByController, Reasons: c.reasons}
}

// onlyMetadata is the subject without anything else.
func (s *subject) onlyMetadata() *subject {
	only := *s
	only.old = map[string]any{"metadata": at(s.old, "metadata")}
	only.new = map[string]any{"metadata": at(s.new, "metadata")}
	return &only
}

var errNoObject = errors.New("the review carries no object")

func orNoObject(err error) error {
	if err == nil {
		return errNoObject
	}
	return err
}

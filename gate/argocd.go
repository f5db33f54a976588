package gate

import (
	"slices"

	"github.com/gitward/gitward/gitindex"
)

// An Application has no status subresource: Argo CD writes to it what it found
// and what it is asked to do, beside the spec, which stays Git's. (argo-cd,
// pkg/apis/application/v1alpha1/types.go)

var (
	argoApplication = []string{"Application.argoproj.io"}
	argoController  = []string{accountPrefix + "argocd:argocd-application-controller"}
	argoServer      = append([]string{accountPrefix + "argocd:argocd-server"}, argoController...)
	argoSets        = []string{accountPrefix + "argocd:argocd-applicationset-controller"}
	argoNotifier    = []string{accountPrefix + "argocd:argocd-notifications-controller"}
	argoEverybody   = slices.Concat(argoServer, argoSets)
)

const (
	argoRefresh    = "metadata.annotations[argocd.argoproj.io/refresh]"
	argoHydrate    = "metadata.annotations[argocd.argoproj.io/hydrate]"
	argoNotified   = "metadata.annotations[notified.notifications.argoproj.io]"
	argoSetRefresh = "metadata.annotations[argocd.argoproj.io/application-set-refresh]"
)

var argoRefreshes = isOneOf("normal", "hard", "true")

// isOneOf: the value is one of these, or goes away.
func isOneOf(words ...string) func(*comparison, values) bool {
	return func(_ *comparison, v values) bool {
		return v.new == absent || slices.Contains(words, text(v.new))
	}
}

// Finalizers that Argo CD holds an Application by: for what it deploys, and for
// hooks of the Application's own end.
var (
	argoResources = []string{"resources-finalizer.argocd.argoproj.io", "resources-finalizer.argocd.argoproj.io/foreground",
		"resources-finalizer.argocd.argoproj.io/background"}
	argoEnds = []string{"pre-delete-finalizer.argocd.argoproj.io", "pre-delete-finalizer.argocd.argoproj.io/cleanup",
		"post-delete-finalizer.argocd.argoproj.io", "post-delete-finalizer.argocd.argoproj.io/cleanup"}
)

// endsWith: a finalizer goes away from what is being deleted.
func endsWith(names ...string) func(*comparison, values) bool {
	return func(c *comparison, v values) bool {
		return v.new == absent && c.subject.deleting && slices.Contains(names, c.path[len(c.path)-1].name)
	}
}

// endsAll: the last finalizers go away from what is being deleted.
func endsAll(names ...string) func(*comparison, values) bool {
	return func(c *comparison, v values) bool {
		return v.new == absent && c.subject.deleting &&
			!slices.ContainsFunc(asList(v.want), func(f any) bool { return !slices.Contains(names, text(f)) })
	}
}

// isArgoOperation: what Argo CD is asked to do is to bring about what Git says:
// no manifests from elsewhere (argocd app sync --local), and no source but the
// Application's own.
func isArgoOperation(c *comparison, v values) bool {
	if v.new == absent || v.new == nil {
		return true
	}
	sync := at(v.new, "sync")
	spec := dig(c.want, "spec")
	return len(asList(at(sync, "manifests"))) == 0 &&
		sameSource(at(sync, "source"), at(spec, "source"), hydrated(spec)) && sameSource(at(sync, "sources"), at(spec, "sources"))
}

// sameSource reports that a source is none, or one of Git's.
func sameSource(source any, gits ...any) bool {
	source = withoutEmpty(source)
	return source == absent || slices.ContainsFunc(gits, func(g any) bool { return equal(source, withoutEmpty(g)) })
}

// hydrated is the source that an Application with a source hydrator syncs from.
func hydrated(spec any) any {
	to := dig(spec, "sourceHydrator", "syncSource")
	if to == absent {
		return absent
	}
	return map[string]any{"repoURL": dig(spec, "sourceHydrator", "drySource", "repoURL"), "path": at(to, "path"), "targetRevision": at(to, "targetBranch")}
}

// withoutEmpty takes out what says nothing, however deep; what nothing is left of
// is absent.
func withoutEmpty(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, f := range x {
			if f = withoutEmpty(f); f != absent {
				out[k] = f
			}
		}
		if len(out) == 0 {
			return absent
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = withoutEmpty(x[i])
		}
		if len(out) == 0 {
			return absent
		}
		return out
	case nil:
		return absent
	}
	if v == any("") {
		return absent
	}
	return v
}

// argoLeavesOut: Argo CD writes an Application back from its Go types, which
// leaves out what is zero there. That says the same, but where the type tells
// nothing from zero: spec.syncPolicy.automated.enabled, and structs behind
// pointers. (argo-cd, pkg/apis/application/v1alpha1/types.go, the fields with
// omitempty.)
func argoLeavesOut(c *comparison, v values) bool {
	if v.new != absent || len(c.path) < 2 || c.path[0].name != "spec" || c.subject.old == nil ||
		c.subject.ref.GroupKind() != argoApplication[0] {
		return false
	}
	name := c.path[len(c.path)-1].name
	return isZeroToArgo(name, v.want) && (v.old == absent || c.user().isOneOf(argoEverybody))
}

func isZeroToArgo(name string, v any) bool {
	switch x := v.(type) {
	case string:
		return x == ""
	case bool:
		return !x && name != "enabled"
	case int64:
		return x == 0 && name == "limit" // of spec.syncPolicy.retry
	case []any:
		return len(x) == 0
	case map[string]any:
		return len(x) == 0 && slices.Contains([]string{"jsonnet", "commonLabels", "commonAnnotations", "labels", "annotations"}, name)
	}
	return false
}

// isBlankStatus: the controller of ApplicationSets makes Applications of its Go types,
// whose status is there and says nothing.
func isBlankStatus(_ *comparison, v values) bool { return v.old == absent && isZero(v.new) }

func isZero(v any) bool {
	fields, ok := v.(map[string]any)
	if !ok {
		return v == any("")
	}
	for _, f := range fields {
		if !isZero(f) {
			return false
		}
	}
	return true
}

// isArgoHook: Argo CD holds its hooks by a finalizer until they are done with.
func (c *comparison) isArgoHook() bool {
	a := c.manifest.Applier
	return a != nil && a.ArgoApplication != "" && c.manifest.Hook
}

// isOwnedBySet: the controller that makes the object of a declared one names that
// as its owner, and nothing else.
func (c *comparison) isOwnedBySet(v any) bool {
	declared, refs := c.manifest.Owner, asList(v)
	if declared == nil || len(refs) != 1 {
		return false
	}
	r, _ := refs[0].(map[string]any)
	uid := text(at(r, "uid"))
	if len(r) != 6 || uid == "" || at(r, "controller") != any(true) || at(r, "blockOwnerDeletion") != any(true) {
		return false
	}
	named := gitindex.Ref{Group: groupOf(text(at(r, "apiVersion"))), Kind: text(at(r, "kind")), Namespace: declared.Namespace, Name: text(at(r, "name"))}
	return named == *declared && c.mayBe(*declared, uid)
}

// mayBe reports whether nothing live speaks against the object having this uid.
func (c *comparison) mayBe(ref gitindex.Ref, uid string) bool {
	if c.tracing == nil || c.tracing.view.Live == nil {
		return true
	}
	if o := c.tracing.view.Live.Object(uid); o != nil {
		return o.Ref == ref
	}
	o := c.tracing.view.Live.Find(ref)
	return o == nil || o.UID == uid
}

package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// What the controllers of Kubernetes make of a template, and what they add.

var errNoTemplate = errors.New("its owner's template is not known")

func (o *LiveObject) field(name string) (map[string]any, error) {
	v, err := decodeObject(o.Template)
	if err != nil {
		return nil, fmt.Errorf("decoding the template of %v: %w", o.Ref, err)
	}
	field, ok := at(v, name).(map[string]any)
	if !ok {
		return nil, errNoTemplate
	}
	return field, nil
}

// canonicalOf gives a manifest that was put together here the API server's
// defaults.
func (t *tracing) canonicalOf(obj map[string]any) (map[string]any, error) {
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encoding what the owner yields: %w", err)
	}
	out, err := t.view.Schemas.Canonical(raw, t.req.Version)
	if err != nil {
		return nil, fmt.Errorf("defaulting what the owner yields: %w", err)
	}
	return decodeObject(out)
}

// made puts a child together from a template.
func (d *derivation) made(apiVersion string, template map[string]any) map[string]any {
	meta := map[string]any{"name": d.subject.ref.Name, "namespace": d.subject.ref.Namespace}
	for _, f := range []string{"labels", "annotations", "finalizers"} {
		if v := dig(template, "metadata", f); v != absent {
			meta[f] = v
		}
	}
	return map[string]any{"apiVersion": apiVersion, "kind": d.subject.ref.Kind, "metadata": meta, "spec": orEmpty(at(template, "spec"))}
}

func orEmpty(v any) any {
	if v == absent {
		return map[string]any{}
	}
	return v
}

func yieldsPod(d *derivation) (map[string]any, error) {
	template, err := d.owner.field("template")
	if err != nil {
		return nil, err
	}
	return d.made("v1", template), nil
}

// yieldsRevisedPod: in the middle of a rollout, Pods of an earlier template are
// made again. Which template that is stands in a ControllerRevision, which was
// held against its owner's template itself when it was made.
func yieldsRevisedPod(d *derivation) (map[string]any, error) {
	name := text(dig(d.subject.new, "metadata", "labels", "controller-revision-hash"))
	if d.owner.Ref.Kind == "DaemonSet" {
		name = d.owner.Ref.Name + "-" + name
	}
	revision := d.tracing.view.Live.Find(gitindex.Ref{Group: "apps", Kind: "ControllerRevision", Namespace: d.owner.Ref.Namespace, Name: name})
	if revision == nil || revision.Owner.UID != d.owner.UID {
		return yieldsPod(d)
	}
	template, err := revision.field("template")
	if err != nil {
		return yieldsPod(d)
	}
	return d.made("v1", template), nil
}

func yieldsReplicaSet(d *derivation) (map[string]any, error) {
	template, err := d.owner.field("template")
	if err != nil {
		return nil, err
	}
	return map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet",
		"metadata": map[string]any{"name": d.subject.ref.Name, "namespace": d.subject.ref.Namespace, "labels": orEmpty(dig(template, "metadata", "labels"))},
		"spec":     map[string]any{"template": template}}, nil
}

func yieldsJob(d *derivation) (map[string]any, error) {
	template, err := d.owner.field("jobTemplate")
	if err != nil {
		return nil, err
	}
	return d.made("batch/v1", template), nil
}

// yieldsRevision: a ControllerRevision holds its owner's template as a patch.
func yieldsRevision(d *derivation) (map[string]any, error) {
	template, err := d.owner.field("template")
	if err != nil {
		return nil, err
	}
	template["$patch"] = "replace"
	return map[string]any{"apiVersion": "apps/v1", "kind": "ControllerRevision",
		"metadata": map[string]any{"name": d.subject.ref.Name, "namespace": d.subject.ref.Namespace},
		"data":     map[string]any{"spec": map[string]any{"template": template}}}, nil
}

// yieldsClaim: the claim template that the name begins with.
func yieldsClaim(d *derivation) (map[string]any, error) {
	template := d.owner.claimTemplate(d.subject.ref.Name)
	if template == nil {
		return nil, errNoTemplate
	}
	return d.made("v1", template), nil
}

// yieldsEphemeralClaim: the claim template of one volume of the Pod, which in
// turn is as its owner's template has it.
func yieldsEphemeralClaim(d *derivation) (map[string]any, error) {
	var volumes any
	if above := d.tracing.view.Live.Object(d.owner.Owner.UID); above != nil {
		template, err := above.field("template")
		if err != nil {
			return nil, err
		}
		volumes = dig(template, "spec", "volumes")
	} else if m := d.tracing.counted(d.owner.Ref); m != nil && d.owner.Owner.UID == "" { // a Pod that Git declares by itself
		pod, err := decodeObject(m.Canonical)
		if err != nil {
			return nil, fmt.Errorf("decoding the canonical form of %v: %w", d.owner.Ref, err)
		}
		volumes = dig(pod, "spec", "volumes")
	}
	for _, v := range asList(volumes) {
		claim, ok := dig(v, "ephemeral", "volumeClaimTemplate").(map[string]any)
		if ok && d.owner.Ref.Name+"-"+text(at(v, "name")) == d.subject.ref.Name {
			return d.made("v1", claim), nil
		}
	}
	return nil, errNoTemplate
}

// claimTemplate finds the template of a claim by the claim's name:
// <template>-<set>-<ordinal>.
func (o *LiveObject) claimTemplate(claim string) map[string]any {
	v, err := decodeObject(o.Template)
	if err != nil {
		return nil
	}
	for _, t := range asList(at(v, "volumeClaimTemplates")) {
		ordinal, ok := strings.CutPrefix(claim, text(dig(t, "metadata", "name"))+"-"+o.Ref.Name+"-")
		if m, isMap := t.(map[string]any); ok && isMap && isOrdinal(ordinal) {
			return m
		}
	}
	return nil
}

var ordinalForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,9})$`)

func isOrdinal(s string) bool { return ordinalForm.MatchString(s) }

// claimsOf finds the StatefulSet that a claim belongs to by its name.
func (t *tracing) claimsOf(claim gitindex.Ref) *LiveObject {
	for i, c := range claim.Name {
		last := strings.LastIndexByte(claim.Name, '-')
		if c != '-' || last <= i {
			continue
		}
		o := t.view.Live.Find(gitindex.Ref{Group: "apps", Kind: "StatefulSet", Namespace: claim.Namespace, Name: claim.Name[i+1 : last]})
		if o != nil && o.claimTemplate(claim.Name) != nil {
			return o
		}
	}
	return nil
}

type addition = map[string]func(c *comparison, v values) bool

func adding(base addition, more addition) addition {
	out := addition{}
	for _, m := range []addition{base, more} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

var everyChild = addition{
	"metadata.ownerReferences": isOnlyOwner,
	"metadata.generateName":    anything,
}

var podAdds = everyChild

var replicaSetAdds = adding(everyChild, addition{
	"metadata.labels.pod-template-hash":               anything,
	"metadata.annotations":                            anything, // the Deployment's own, copied
	"spec.replicas":                                   anything,
	"spec.minReadySeconds":                            anything,
	"spec.selector":                                   anything, // the API server holds it against the template's labels
	"spec.template.metadata.labels.pod-template-hash": anything,
})

var statefulPodAdds = adding(everyChild, addition{
	"metadata.labels[statefulset.kubernetes.io/pod-name]": isSubjectName,
	"metadata.labels[apps.kubernetes.io/pod-index]":       anything,
	"metadata.labels.controller-revision-hash":            anything,
	"spec.hostname":  isSubjectName,
	"spec.subdomain": anything,
	"spec.volumes[]": isClaimVolume,
})

var daemonPodAdds = adding(everyChild, addition{
	"metadata.labels.controller-revision-hash":                                  anything,
	"metadata.labels.pod-template-generation":                                   anything,
	"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution": isOneNode,
	"spec.tolerations": daemonTolerations,
})

var jobPodAdds = adding(everyChild, addition{
	"metadata.finalizers[]": isFinalizer("batch.kubernetes.io/job-tracking"),
	"metadata.annotations[batch.kubernetes.io/job-completion-index]":            isIndex,
	"metadata.labels[batch.kubernetes.io/job-completion-index]":                 isIndex,
	"metadata.annotations[batch.kubernetes.io/job-index-failure-count]":         isIndex,
	"metadata.annotations[batch.kubernetes.io/job-index-ignored-failure-count]": isIndex,
	"spec.containers[].env[]":     isIndexVariable,
	"spec.initContainers[].env[]": isIndexVariable,
	"spec.hostname":               anything,
})

var jobAdds = adding(everyChild, addition{
	"metadata.annotations[batch.kubernetes.io/cronjob-scheduled-timestamp]": anything,
})

var revisionAdds = adding(everyChild, addition{
	"metadata.labels":      anything,
	"metadata.annotations": anything,
	"revision":             anything,
	"data":                 isTemplatePatch,
})

var claimAdds = adding(everyChild, addition{"metadata.labels": anything})

func anything(_ *comparison, v values) bool { return v.new != absent }

// isOnlyOwner: one owner, the controller that was looked up.
func isOnlyOwner(c *comparison, v values) bool {
	list := asList(v.new)
	return v.want == absent && len(list) == 1
}

func isIndex(_ *comparison, v values) bool { return v.want == absent && isOrdinal(text(v.new)) }

// isIndexVariable: where a container of an indexed Job reads its index.
func isIndexVariable(_ *comparison, v values) bool {
	return v.want == absent && equal(v.new, map[string]any{"name": "JOB_COMPLETION_INDEX", "valueFrom": map[string]any{"fieldRef": map[string]any{
		"apiVersion": "v1", "fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}}}) ||
		v.want == absent && equal(v.new, map[string]any{"name": "JOB_COMPLETION_INDEX", "valueFrom": map[string]any{"fieldRef": map[string]any{
			"apiVersion": "v1", "fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}})
}

// isClaimVolume: the volume of a claim template, in place of one of that name.
func isClaimVolume(c *comparison, v values) bool {
	name, claim := text(at(v.new, "name")), text(dig(v.new, "persistentVolumeClaim", "claimName"))
	owner, _ := controllerOf(c.subject.new)
	set := c.tracing.view.Live.Object(owner.UID)
	return set != nil && claim == name+"-"+c.subject.ref.Name && set.claimTemplate(claim) != nil &&
		equal(v.new, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": claim}})
}

// isOneNode: a DaemonSet's Pod is bound to its Node by name, in place of all
// else.
func isOneNode(_ *comparison, v values) bool {
	terms := asList(at(v.new, "nodeSelectorTerms"))
	if len(terms) != 1 {
		return false
	}
	for _, term := range terms {
		m, _ := term.(map[string]any)
		fields := asList(at(term, "matchFields"))
		if len(m) != 1 || len(fields) != 1 || at(fields[0], "key") != any("metadata.name") || at(fields[0], "operator") != any("In") ||
			len(asList(at(fields[0], "values"))) != 1 {
			return false
		}
	}
	return true
}

// daemonTolerations: the template's, and those that every DaemonSet's Pods have.
func daemonTolerations(_ *comparison, v values) bool {
	n, w := asList(v.new), asList(v.want)
	for _, t := range n {
		if !slices.ContainsFunc(w, func(x any) bool { return equal(x, t) }) && !isDaemonToleration(t) {
			return false
		}
	}
	return len(n) >= len(w)
}

func isDaemonToleration(t any) bool {
	condition, ok := strings.CutPrefix(text(at(t, "key")), "node.kubernetes.io/")
	m, _ := t.(map[string]any)
	if !ok || len(m) != 3 || at(t, "operator") != any("Exists") {
		return false
	}
	switch condition {
	case "not-ready", "unreachable":
		return at(t, "effect") == any("NoExecute")
	case "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable", "network-unavailable":
		return at(t, "effect") == any("NoSchedule")
	}
	return false
}

// isTemplatePatch: the revision's data are the owner's template, marked to
// replace what is there. Both are brought to the form of a Pod, since one may
// spell out what the other leaves to defaults; what that form has no place for
// could be a directive to the patch, and is not let in.
func isTemplatePatch(c *comparison, v values) bool {
	data, _ := v.new.(map[string]any)
	spec, _ := at(v.new, "spec").(map[string]any)
	template, _ := dig(v.new, "spec", "template").(map[string]any)
	if len(data) != 1 || len(spec) != 1 || at(template, "$patch") != any("replace") {
		return false
	}
	pod := c.podOf(template)
	if !equal(pod, c.podOf(dig(v.want, "spec", "template"))) {
		return false
	}
	for k := range template {
		if k != "$patch" && k != "metadata" && k != "spec" {
			return false
		}
	}
	return covers(at(pod, "metadata"), at(template, "metadata")) && covers(at(pod, "spec"), at(template, "spec"))
}

// covers reports that every key that says something in v is one in full too.
func covers(full, v any) bool {
	switch x := v.(type) {
	case map[string]any:
		for k, item := range x {
			if f := at(full, k); item != nil && !isEmptyMap(item) && (f == absent || !covers(f, item)) {
				return false
			}
		}
	case []any:
		f := asList(full)
		for i, item := range x {
			if i >= len(f) || !covers(f[i], item) {
				return false
			}
		}
	}
	return true
}

func isEmptyMap(v any) bool {
	m, ok := v.(map[string]any)
	return ok && len(m) == 0
}

func (c *comparison) podOf(template any) any {
	m, ok := template.(map[string]any)
	if !ok {
		return absent
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "x",
		"labels": orNull(dig(m, "metadata", "labels")), "annotations": orNull(dig(m, "metadata", "annotations"))}, "spec": orEmpty(at(m, "spec"))})
	if err != nil {
		return absent
	}
	out, err := c.tracing.view.Schemas.Canonical(raw, "v1")
	if err != nil {
		return absent
	}
	v, err := decodeObject(out)
	if err != nil {
		return absent
	}
	return v
}

func orNull(v any) any {
	if v == absent {
		return nil
	}
	return v
}

# The requests that the tests beside this file ask about.
package gitward.pod_security.baseline.fixture_test

# pod asks for a Pod of this specification.
pod(spec) := creation("", "Pod", {"metadata": {"name": "shop"}, "spec": spec})

# everywhere asks for a Pod with this container in each of its lists.
everywhere(container) := pod({
	"initContainers": [object.union(container, {"name": "setup"})],
	"containers": [object.union(container, {"name": "web"})],
	"ephemeralContainers": [object.union(container, {"name": "debug"})],
})

# secured asks for a Pod whose containers all have this security context.
secured(context) := everywhere({"securityContext": context})

# annotated asks for a Pod with one container and these annotations.
annotated(annotations) := creation("", "Pod", {
	"metadata": {"name": "shop", "annotations": annotations},
	"spec": {"containers": [{"name": "web"}]},
})

creation(group, kind, object) := {"request": {
	"operation": "CREATE",
	"kind": {"group": group, "version": "v1", "kind": kind},
	"namespace": "shop",
	"name": "shop",
	"object": object,
}}

update(group, kind, objects) := {"request": {
	"operation": "UPDATE",
	"kind": {"group": group, "version": "v1", "kind": kind},
	"namespace": "shop",
	"name": "shop",
	"object": objects.new,
	"oldObject": objects.old,
}}

# every_kind are requests for the same pod by each kind that can ask for one.
every_kind(spec) := {
	"spec": pod(spec),
	"template.spec": creation("", "PodTemplate", {"template": {"spec": spec}}),
	"spec.template.spec": creation("apps", "Deployment", {"spec": {"template": {"spec": spec}}}),
	"spec.jobTemplate.spec.template.spec": creation("batch", "CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}),
}

# paths_of are the field paths of the fixes of a set of denials.
paths_of(denials) := {split(denial.fix, " ")[1] | some denial in denials}

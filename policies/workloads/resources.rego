# METADATA
# title: Containers say what they need, and how much at most
# description: |
#   A container without a memory limit can take its node down; one without requests is put
#   where there is no room. Containers and init containers are asked. Ephemeral ones are
#   not: the API forbids them to have any. What the pod says for all of its containers
#   (spec.resources) counts for each.
#
#   Parameter resources.require says what has to be there. Default: requests of cpu and
#   memory, limits of memory; a limit of cpu slows a container down even where the node is
#   idle. A limit counts as a request, as it does for the API server. Parameter
#   resources.max caps limits, and requests too: {cpu: "4", memory: 8Gi}. Default: no cap.
#
#   What breaks: most charts as they come. And a LimitRange helps Pods but not what makes
#   them: the API server fills it in on the Pod alone. The default action is warn for that.
# custom:
#   severity: low
#   gitward:
#     action: warn
#     match:
#       kinds:
#         - {apiGroups: [""], kinds: [Pod, PodTemplate, ReplicationController]}
#         - {apiGroups: [apps], kinds: [DaemonSet, Deployment, ReplicaSet, StatefulSet]}
#         - {apiGroups: [batch], kinds: [CronJob, Job]}
#       excludedNamespaces: [kube-system]
package gitward.workloads.resources

import data.gitward.workloads.pod

deny contains {"msg": msg, "fix": fix} if {
	some container in limited
	some section, names in require
	some name in names
	not given(container.spec, section, name)
	not given(pod.spec, section, name)
	msg := sprintf("%s has no %s of %s", [container.name, section, name])
	fix := sprintf("set %s.resources.%s.%s", [container.path, section, name])
}

deny contains {"msg": msg, "fix": fix} if {
	some container in limited
	some section in ["requests", "limits"]
	some name, cap in max
	value := container.spec.resources[section][name]
	not within(value, cap)
	msg := sprintf("%s has %s of %v %s, and %v is the most", [container.name, section, value, name, cap])
	fix := sprintf("set %s.resources.%s.%s to %v or less, written like 250m, 2 or 512Mi", [container.path, section, name, cap])
}

limited := {container | some container in pod.containers; not contains(container.path, ".ephemeralContainers[")}

default require := {"requests": ["cpu", "memory"], "limits": ["memory"]}

require := data.parameters.resources.require

default max := {}

max := data.parameters.resources.max

given(spec, section, name) if {
	value := spec.resources[section][name]
	not value in {null, ""}
}

given(spec, section, name) if {
	section == "requests"
	value := spec.resources.limits[name]
	not value in {null, ""}
}

# within is not true of what cannot be read.
within(value, cap) if amount(value) <= amount(cap)

amount(quantity) := number * factors[suffix] if {
	[[_, digits, suffix]] := regex.find_all_string_submatch_n(`^((?:0|[1-9][0-9]{0,17})(?:[.][0-9]{1,18})?)([A-Za-z]*)$`, sprintf("%v", [quantity]), 1)
	number := to_number(digits)
}

# In thousandths, so that all of it is whole numbers.
factors := {
	"m": 1,
	"": 1000,
	"k": 1000000,
	"M": 1000000000,
	"G": 1000000000000,
	"T": 1000000000000000,
	"Ki": 1024000,
	"Mi": 1048576000,
	"Gi": 1073741824000,
	"Ti": 1099511627776000,
}

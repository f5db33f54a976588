# METADATA
# title: Probes and lifecycle hooks stay with their pod
# description: |
#   The kubelet itself makes the requests of probes and lifecycle hooks. With a host in
#   them a pod sends the kubelet where it likes: to the node's loopback, or to a cloud's
#   metadata service. Baseline of the Pod Security Standards since 1.34, control "Host
#   Probes / Lifecycle Hooks".
#
#   What breaks: probes that name a host on purpose, often 127.0.0.1 or the pod's own
#   name. Without a host the pod's address is used, which is meant nearly always.
# custom:
#   severity: medium
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: [""], kinds: [Pod, PodTemplate, ReplicationController]}
#         - {apiGroups: [apps], kinds: [DaemonSet, Deployment, ReplicaSet, StatefulSet]}
#         - {apiGroups: [batch], kinds: [CronJob, Job]}
#       excludedNamespaces: [kube-system]
package gitward.pod_security.restricted.host_probes

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	some handler in handlers
	some action in ["httpGet", "tcpSocket"]
	host := handler.spec[action].host
	not host in {"", null}
	msg := sprintf("%s sends the kubelet to host %q in %s", [handler.container, host, handler.where])
	fix := sprintf("remove %s.%s.%s.host: the pod's own address is used then", [handler.path, handler.where, action])
}

handlers contains {"container": container.name, "path": container.path, "where": probe, "spec": container.spec[probe]} if {
	some container in pod.containers
	some probe in ["livenessProbe", "readinessProbe", "startupProbe"]
}

handlers contains {"container": container.name, "path": container.path, "where": where, "spec": container.spec.lifecycle[hook]} if {
	some container in pod.containers
	some hook in ["postStart", "preStop"]
	where := sprintf("lifecycle.%s", [hook])
}

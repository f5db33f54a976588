# The pod that a request asks for, whatever kind asks, and all of its containers:
# what the policies beside this file look at. A copy stands in every directory
# whose policies look at pods, so that each of them can be used alone.
package gitward.workloads.pod

# template is the part of the object that a pod is made from. A deletion has none.
template := made_from(input.request.object)

made_from(object) := object if input.request.kind.kind == "Pod"

made_from(object) := object.template if input.request.kind.kind == "PodTemplate"

made_from(object) := object.spec.jobTemplate.spec.template if input.request.kind.kind == "CronJob"

made_from(object) := object.spec.template if input.request.kind.kind in controllers

controllers := {"DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}

# path is where the pod's specification stands in the object.
default path := "spec.template.spec"

path := "spec" if input.request.kind.kind == "Pod"

path := "template.spec" if input.request.kind.kind == "PodTemplate"

path := "spec.jobTemplate.spec.template.spec" if input.request.kind.kind == "CronJob"

# unchanged are the updates that bring in nothing new: whoever takes a finalizer
# off a pod, scales or labels a Deployment, or reports a status does not answer for
# what is inside. Of a running pod's containers only the image can be changed, and
# ephemeral ones can be added: this is when the API server looks at it again too.
unchanged if {
	input.request.operation == "UPDATE"
	input.request.kind.kind == "Pod"
	count(images(input.request.object) - images(input.request.oldObject)) == 0
}

unchanged if {
	input.request.operation == "UPDATE"
	made_from(input.request.object) == made_from(input.request.oldObject)
}

images(object) := {[list, container.name, object_image(container)] |
	some list, _ in lists
	some container in object.spec[list]
}

default object_image(_) := ""

object_image(container) := container.image if is_string(container.image)

# spec and annotations are the pod's, where there is something to judge.
spec := template.spec if not unchanged

annotations := template.metadata.annotations if not unchanged

# containers are all that run in the pod. name is for a message, path for the way
# to mend it, spec is the container itself.
containers contains {"name": name, "path": at, "spec": container} if {
	some list, word in lists
	some container in spec[list]
	name := sprintf("%s %q", [word, named(container)])
	at := sprintf("%s.%s[%s]", [path, list, named(container)])
}

lists := {
	"containers": "container",
	"initContainers": "init container",
	"ephemeralContainers": "ephemeral container",
}

default named(_) := "?"

named(container) := container.name if is_string(container.name)

# windows pods have no Linux security context to set.
windows if spec.os.name == "windows"

# user_namespace says that root in the pod is nobody on the node.
user_namespace if spec.hostUsers == false

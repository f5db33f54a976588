package template

deny contains "privileged" if {
	some list in ["containers", "initContainers"]
	some c in input.request.object.spec.template.spec[list]
	c.securityContext.privileged
}

deny contains "privileged" if {
	some c in input.request.object.spec.template.spec.containers
	c.securityContext.capabilities
}

test_nothing if count(deny) == 0 with input as {}

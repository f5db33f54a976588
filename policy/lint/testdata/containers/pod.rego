package pod

deny contains "privileged" if {
	some c in input.request.object.spec.containers # want containers-only
	c.securityContext.privileged
}

test_nothing if count(deny) == 0 with input as {}

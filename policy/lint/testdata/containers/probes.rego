package probes

deny contains "no probe" if {
	some c in input.request.object.spec.containers
	not c.readinessProbe
}

test_nothing if count(deny) == 0 with input as {}

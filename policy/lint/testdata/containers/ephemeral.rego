package ephemeral

deny contains "latest" if {
	some c in array.concat(input.request.object.spec.containers, input.request.object.spec.initContainers) # want containers-only
	endswith(c.image, ":latest")
}

test_nothing if count(deny) == 0 with input as {}

package silent

deny contains {"msg": "root"} if {
	some c in input.request.object.spec.initContainers
	not is_fine(c.securityContext.runAsUser) # want silent-not
}

deny contains {"msg": "root"} if {
	some c in input.request.object.spec.initContainers
	not c.securityContext.runAsUser
	not c.securityContext.runAsUser == 3
	not is_fine(object.get(c, ["securityContext", "runAsUser"], 0))
	not fine(c)
	not is_fine(c.name)
}

deny contains {"msg": "root"} if {
	some c in input.request.object.spec.initContainers
	c.securityContext.runAsUser
	not is_fine(c.securityContext.runAsUser)
}

deny contains {"msg": "no team"} if not startswith(lower(input.request.object.metadata.labels.team), "team-") # want silent-not

deny contains {"msg": "no team"} if not input.request.object.metadata.labels.team in {"a", "b"} # want silent-not

deny contains {"msg": "too many"} if not input.request.object.spec.replicas < 10 # want silent-not

deny contains {"msg": "unknown"} if not is_fine(teams.of)

teams.of := 3

is_fine(x) if x > 0

fine(c) if is_fine(c.securityContext.runAsUser)

test_nothing if count(deny) == 0 with input as {}

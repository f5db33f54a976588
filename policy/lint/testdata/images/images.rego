package images

deny contains {"msg": "elsewhere"} if {
	some c in containers
	not startswith(c.image, "registry.example.org") # want open-prefix
}

deny contains {"msg": "elsewhere"} if {
	some c in containers
	not startswith(c.image, "registry.example.org/")
}

deny contains {"msg": "elsewhere"} if {
	some c in containers
	not regex.match("registry.example.org/", c.image) # want unanchored-match
}

deny contains {"msg": "elsewhere"} if {
	some c in containers
	not regex.match(`^registry\.example\.org/`, c.image)
	not regex.match(`^(quay.io|docker.io)/acme/`, c.image)
	not regex.match(`^quay.io/|docker.io/`, c.image) # want unanchored-match
	not regex.match(`^registry\.example\.org`, c.image) # want unanchored-match
	not regex.match(`@sha256:[0-9a-f]{64}$`, c.image)
	not regex.match(`.*@sha256:[0-9a-f]{64}.*`, c.image)
}

# What denies too much is seen at once.
deny contains {"msg": "evil"} if {
	some c in containers
	regex.match("evil", c.image)
}

deny contains {"msg": "evil"} if {
	some c in containers
	not known(c.image)
	count([i | some i in input.request.object.spec.images; contains(i.registry, "registry.example.org/")]) == 0 # want unanchored-match
}

known(image) if regex.match("quay.io/acme/", image) # want unanchored-match

known(image) if image in {"a"}

known(image) if strings.any_prefix_match(image, ["quay.io/a/", "quay.io/b"]) # want open-prefix

# What is no name is none of this rule's business.
deny contains {"msg": "a version"} if not regex.match("v[0-9]", input.request.object.data.release) # want silent-not

deny contains {"msg": "a group"} if not startswith(input.request.object.apiVersion, "networking.k8s.io")

# Somebody has thought about it.
deny contains {"msg": "elsewhere"} if {
	some c in containers

	# gitward:ignore open-prefix
	not startswith(c.image, "registry.example.org")
}

containers contains c if {
	some list in ["containers", "initContainers", "ephemeralContainers"]
	some c in input.request.object.spec[list]
}

# METADATA
# custom:
#   gitward:
#     action: warn
#     point: [ci] # want unknown-metadata
package said # want untested

deny if input.request.object.kind == "Pod" # want no-message

deny contains {"message": "no"} if input.request.object.kind == "Pod" # want no-message

deny contains msg if { # want no-message
	input.request.object.kind == "Pod"
	msg := {"reason": "no"}
} # a variable is looked through

deny contains msg if {
	input.request.object.kind == "Pod"
	msg := sprintf("%s", ["no"])
}

deny contains {"msg": "both"} if { # want two-inputs
	input.request.operation == "CREATE"
	input.review.object.kind == "Pod"
}

deny contains {"msg": "either"} if operation == "CREATE"

operation := input.request.operation

operation := input.review.operation

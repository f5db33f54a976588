# METADATA
# title: Pods are not allowed
package quiet

import data.other

deny if input.request.object.kind == "Pod"

test_deny if deny with input as {"request": {"object": {"kind": "Pod"}}}

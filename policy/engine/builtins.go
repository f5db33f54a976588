package engine

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// pure are the built-ins that a policy may call: what they give depends on
// their arguments alone. One that is new in OPA is out until it is listed here.
var pure = strings.Fields(`
	abs all any array.concat array.flatten array.reverse array.slice assign and or not
	base64.decode base64.encode base64.is_valid base64url.decode base64url.encode base64url.encode_no_pad
	bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor
	cast_array cast_boolean cast_null cast_object cast_set cast_string ceil concat contains count
	crypto.hmac.equal crypto.hmac.md5 crypto.hmac.sha1 crypto.hmac.sha256 crypto.hmac.sha512 crypto.md5 crypto.sha1 crypto.sha256
	crypto.x509.parse_certificate_request crypto.x509.parse_certificates
	div endswith eq equal floor format_int glob.match glob.quote_meta graph.reachable graph.reachable_paths
	gt gte hex.decode hex.encode indexof indexof_n internal.member_2 internal.member_3 internal.print internal.template_string
	internal.test_case intersection io.jwt.decode is_array is_boolean is_null is_number is_object is_set is_string
	json.filter json.is_valid json.marshal json.marshal_with_options json.patch json.remove json.unmarshal
	lower lt lte max min minus mul neq
	net.cidr_contains net.cidr_contains_matches net.cidr_expand net.cidr_intersects net.cidr_is_valid net.cidr_merge net.cidr_overlap
	numbers.range numbers.range_step object.filter object.get object.keys object.remove object.subset object.union object.union_n
	plus print product re_match regex.find_all_string_submatch_n regex.find_n regex.globs_match regex.is_valid regex.match regex.replace
	regex.split regex.template_match rego.metadata.chain rego.metadata.rule rem replace round
	semver.compare semver.is_valid set_diff sort split sprintf startswith strings.any_prefix_match strings.any_suffix_match strings.count
	strings.render_template strings.replace_n strings.reverse strings.split_n substring sum
	time.add_date time.clock time.date time.diff time.format time.parse_duration_ns time.parse_ns time.parse_rfc3339_ns time.weekday
	to_number trace trim trim_left trim_prefix trim_right trim_space trim_suffix type_name union units.parse units.parse_bytes upper
	uri.is_valid uri.parse urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object uuid.parse walk
	yaml.is_valid yaml.marshal yaml.unmarshal`)

// instead says what to write in place of a built-in that policies may not call.
var instead = map[string]string{
	"time.now_ns":          "input.time is the time of the request",
	"http.send":            "what a policy needs to know is kept in Git beside it",
	"net.lookup_ip_addr":   "what a policy needs to know is kept in Git beside it",
	"opa.runtime":          "what a policy needs to know is kept in Git beside it",
	"json.match_schema":    "a schema may name others by address, and fetching them is a network call",
	"json.verify_schema":   "a schema may name others by address, and fetching them is a network call",
	"io.jwt.decode_verify": "it asks the clock; a request's user is in input.request.userInfo",
}

// capabilities are this OPA's without what is not pure.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !slices.Contains(pure, b.Name) || b.Nondeterministic })
	c.AllowNet = []string{}
	return c
}

// impure are the names of the built-ins that capabilities leaves out.
func impure() map[string]bool {
	out := map[string]bool{}
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		out[b.Name] = true
	}
	for _, b := range capabilities().Builtins {
		delete(out, b.Name)
	}
	return out
}

// Package gatekeeper answers: what do Gatekeeper's ConstraintTemplates and
// Constraints in a tree say, and which requests do they concern?
//
// A Template is a policy in Rego with the schema of its parameters; a
// Constraint puts one to use: with which parameters, on which objects, and with
// what consequence. Both are read, converted, defaulted and validated by the
// code of Gatekeeper itself (open-policy-agent/gatekeeper v3.23.1 and
// open-policy-agent/frameworks, which it is built on), so that a library written
// for Gatekeeper means here what it means there. Which requests a Constraint
// concerns is Gatekeeper's own answer too.
//
// Nothing here evaluates Rego. A Template names its Modules, which are one
// compile unit, and its Entry; a Constraint names the Parameters; somebody else
// evaluates data.<package>.violation with the input {review, parameters} and the
// cluster's objects in data.inventory.
//
// A Suite is a file of tests of such a library, as `gator verify` runs it. It
// evaluates through an Evaluator, so that the tests of a library are run by the
// engine that decides its requests.
package gatekeeper

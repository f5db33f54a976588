// Package engine answers: what do the policies of one directory say of a
// request? It reads Rego from an fs.FS, compiles it and evaluates it, in this
// process and at once. Who wrote the policies may be nobody's friend: whoever
// cannot end the process at will asks through policy/worker.
package engine

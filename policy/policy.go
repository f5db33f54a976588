// Package policy answers: what do the policies in Git say of a request? It holds
// the words that the gate and the engine share: what a policy is told, and what
// it finds. A policy only tightens: it finds fault or it finds none.
package policy

import (
	"encoding/json"
	"fmt"
	"time"
)

// Action is what follows from a finding. The zero value denies.
type Action int

// The actions.
const (
	Deny Action = iota
	Warn
	Audit // it is recorded, and nobody is told
)

var actions = [...]string{Deny: "deny", Warn: "warn", Audit: "audit"}

func (a Action) String() string { return actions[a] }

// MarshalText writes the action's name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads an action's name; dryrun is Gatekeeper's for audit.
func (a *Action) UnmarshalText(text []byte) error {
	for i, name := range actions {
		if string(text) == name {
			*a = Action(i)
			return nil
		}
	}
	if string(text) == "dryrun" {
		*a = Audit
		return nil
	}
	return fmt.Errorf("want one of deny, warn and audit, not %.40q", text)
}

// Point is where a policy is asked.
type Point string

// The points.
const (
	Admission Point = "admission" // a request to the API server
	Scan      Point = "scan"      // what is in the cluster already
	CI        Point = "ci"        // a checkout, before it is merged
)

// Points are all of them.
var Points = []Point{Admission, Scan, CI}

// Finding is what one policy has against a request.
type Finding struct {
	Policy  string `json:"policy"` // its package, or its constraint: "K8sAllowedRepos/only-ours"
	Rule    string `json:"rule,omitempty"`
	Title   string `json:"title,omitempty"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
	Details any    `json:"details,omitempty"`
	Action  Action `json:"action"`
	Kind    Kind   `json:"kind"`
	// Origin and Revision say which commit's policy it was; empty where it is read
	// from a directory.
	Origin   string `json:"origin,omitempty"`
	Revision string `json:"revision,omitempty"`
	File     string `json:"file"` // in the repository, or below the policies' directory
	Line     int    `json:"line,omitempty"`
}

// Kind tells a policy's word from its failure. Both count.
type Kind string

// The kinds of findings.
const (
	Violation Kind = "violation"
	Erred     Kind = "error"   // it could not be evaluated
	Overrun   Kind = "overrun" // it was ended: too much time, or memory
)

// Input is what a policy is told of a request: the JSON of it is the document
// "input" (docs/policies.md). Objects are as the API server sent them, but for
// the values of Secrets, of which there are keyed hashes.
type Input struct {
	APIVersion string      `json:"apiVersion"` // admission.k8s.io/v1
	Kind       string      `json:"kind"`       // AdmissionReview
	Request    Request     `json:"request"`
	Namespace  *Namespace  `json:"namespace,omitempty"` // absent for what is cluster-scoped
	Time       time.Time   `json:"time"`                // of the request
	Provenance *Provenance `json:"provenance,omitempty"`
	Changes    []Change    `json:"changes,omitempty"`
	Derived    *Root       `json:"derived,omitempty"`
	// Reason is why the Gate would admit the request: Git, Derived, Rule,
	// NotDeclared, BreakGlass; empty where it would not, and only warns or audits.
	Reason string `json:"reason,omitempty"`
}

// Request is admission.k8s.io/v1's AdmissionRequest, as far as policies read it.
type Request struct {
	UID         string          `json:"uid"`
	Kind        Kinds           `json:"kind"`
	Resource    Resources       `json:"resource"`
	SubResource string          `json:"subResource,omitempty"`
	Name        string          `json:"name,omitempty"`
	Namespace   string          `json:"namespace,omitempty"`
	Operation   string          `json:"operation"`
	UserInfo    User            `json:"userInfo"`
	Object      json.RawMessage `json:"object"`
	OldObject   json.RawMessage `json:"oldObject"`
	DryRun      bool            `json:"dryRun"`
}

// Kinds is a kind with its group and version.
type Kinds struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// Resources is a resource with its group and version.
type Resources struct {
	Group    string `json:"group"`
	Version  string `json:"version"`
	Resource string `json:"resource"`
}

// User is who asks.
type User struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

// Namespace is the object's, as far as it is known.
type Namespace struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Provenance is where in Git the object stands. What has none is admitted for
// another reason, such as break-glass.
type Provenance struct {
	Origin    string    `json:"origin"`
	Revision  string    `json:"revision"` // the Origin's accepted commit
	Commit    string    `json:"commit"`   // that last changed this object
	Parents   []string  `json:"parents"`
	Subject   string    `json:"subject"`
	Author    Person    `json:"author"` // as claimed
	Committer Person    `json:"committer"`
	Time      time.Time `json:"time"` // of the committer, as claimed
	Signers   []Signer  `json:"signers"`
	// Merged are the commits that a merge brings in, where each has all that the
	// merge changes just as the merge has it: who signed one signed the same.
	Merged []Merged `json:"merged,omitempty"`
	Path   string   `json:"path"`
	Line   int      `json:"line,omitempty"`
	Level  string   `json:"level"`
	Unit   string   `json:"unit,omitempty"`
	// Via is the Origin whose object opened the unit, where that is another one. It
	// can change all that is rendered, and its signers are not known here: then
	// there are none.
	Via string `json:"via,omitempty"`
}

// Merged is a commit that a merge brought in.
type Merged struct {
	Commit    string   `json:"commit"`
	Author    Person   `json:"author"`
	Committer Person   `json:"committer"`
	Signers   []Signer `json:"signers"`
}

// Person is a name and address as a commit claims them.
type Person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Signer is a key that signed the commit and counts there.
type Signer struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Change is a field that has another reason than Git.
type Change struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Root is the declared object that a derived one stems from.
type Root struct {
	Group     string `json:"group"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

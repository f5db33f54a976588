// Package audit answers: what was decided, about what, and why? For now it
// keeps one JSON line per decision; stores that can be queried and proved
// complete come later, behind the same Recorder.
package audit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// Record is one decision. It holds names, ids and digests; it never holds a
// value of the object. Its field names are stable.
type Record struct {
	Time      time.Time `json:"time"`
	Seq       uint64    `json:"seq"` // within one replica's run
	Replica   string    `json:"replica,omitempty"`
	Cluster   string    `json:"cluster,omitempty"`
	Decision  string    `json:"decision"`
	UID       string    `json:"uid"` // of the review
	Operation string    `json:"operation"`

	APIVersion    string `json:"apiVersion"`
	Kind          string `json:"kind"`
	Resource      string `json:"resource"`
	ResourceGroup string `json:"resourceGroup,omitempty"` // a subresource's kind is often of another group
	SubResource   string `json:"subResource,omitempty"`
	Namespace     string `json:"namespace,omitempty"`
	Name          string `json:"name,omitempty"`
	ObjectUID     string `json:"objectUID,omitempty"`
	ObjectDigest  string `json:"objectDigest,omitempty"` // HMAC-SHA256 with a key of this run for Secrets, SHA-256 for the rest

	User         string              `json:"user"`
	UserUID      string              `json:"userUID,omitempty"`
	Groups       []string            `json:"groups,omitempty"`
	Extra        map[string][]string `json:"extra,omitempty"` // pod, node and credential of a service account
	Impersonated bool                `json:"maybeImpersonated,omitempty"`
	FieldManager string              `json:"fieldManager,omitempty"` // chosen by the client: a hint

	Gate    string `json:"gate,omitempty"`
	Action  string `json:"action,omitempty"`
	Allowed bool   `json:"allowed"`
	Refused bool   `json:"refused,omitempty"` // on its merits, whether the Gate let it pass or not
	Reason  string `json:"reason"`
	// Paths had another reason than Git, or none; by reason.
	Paths map[string][]string `json:"paths,omitempty"`

	Owner      string     `json:"owner,omitempty"`      // the kind of the object's controller
	Root       string     `json:"root,omitempty"`       // what a derived object stems from
	BreakGlass string     `json:"breakGlass,omitempty"` // the reason that was given
	Until      *time.Time `json:"until,omitempty"`      // when it ends

	Origin    string            `json:"origin,omitempty"`
	Commit    string            `json:"commit,omitempty"`
	Author    string            `json:"author,omitempty"`
	Signer    string            `json:"signer,omitempty"`
	Path      string            `json:"path,omitempty"`
	Line      int               `json:"line,omitempty"`
	Blob      string            `json:"blob,omitempty"`
	Level     string            `json:"level,omitempty"`     // how directly Git says what the object is
	Unit      string            `json:"unit,omitempty"`      // what rendered it
	Via       string            `json:"via,omitempty"`       // the Origin whose object opened the unit, if another
	Revisions map[string]string `json:"revisions,omitempty"` // of every Origin asked
	// Policies are those that found something. What they say of it may hold values
	// of the object, and is not kept.
	Policies []PolicyFinding `json:"policies,omitempty"`
}

// PolicyFinding is a policy that found something, and what followed.
type PolicyFinding struct {
	Policy   string `json:"policy"`
	Rule     string `json:"rule,omitempty"`
	Kind     string `json:"kind"`   // violation, error, overrun
	Action   string `json:"action"` // Deny, Warn, Audit: the Gate's, if that is weaker
	Gate     string `json:"gate"`
	Origin   string `json:"origin,omitempty"`
	Revision string `json:"revision,omitempty"` // of the policies
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
}

// Lines writes one JSON line per decision. It is safe for concurrent use. Its
// zero value is not usable; call NewLines.
type Lines struct {
	replica, cluster string
	key              [32]byte

	mu  sync.Mutex
	w   io.Writer
	seq uint64
}

// NewLines records to w. Replica and cluster name where the decisions were
// made; each may be empty.
func NewLines(w io.Writer, replica, cluster string) (*Lines, error) {
	l := &Lines{w: w, replica: replica, cluster: cluster}
	if _, err := rand.Read(l.key[:]); err != nil {
		return nil, fmt.Errorf("making a key for digests: %w", err)
	}
	return l, nil
}

// Record appends one decision. It returns once the line has been handed to the
// operating system whole.
func (l *Lines) Record(req *gate.Request, d *gate.Decision) error {
	r := l.record(req, d)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	r.Seq = l.seq
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing decision %s: %w", d.ID, err)
	}
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing decision %s: %w", d.ID, err)
	}
	return nil
}

func (l *Lines) record(req *gate.Request, d *gate.Decision) Record {
	ref := req.Ref()
	r := Record{
		Time: d.At.UTC(), Replica: l.replica, Cluster: l.cluster, Decision: d.ID, UID: req.UID, Operation: string(req.Operation),
		APIVersion: req.Version, Kind: req.Kind, Resource: req.Resource, ResourceGroup: req.ResourceGroup, SubResource: req.SubResource,
		Namespace: ref.Namespace, Name: ref.Name, ObjectUID: d.ObjectUID, ObjectDigest: l.digest(req),
		User: req.User.Name, UserUID: req.User.UID, Groups: req.User.Groups, Extra: req.User.Extra,
		Impersonated: maybeImpersonated(req.User), FieldManager: gitindex.Clean(req.FieldManager, 128),
		Gate: d.Gate, Allowed: d.Allowed, Reason: string(d.Reason), Revisions: d.Revisions,
	}
	if req.Group != "" {
		r.APIVersion = req.Group + "/" + req.Version
	}
	if d.Gate != "" {
		r.Action = d.Action.String()
	}
	if d.Refusal != nil {
		r.Reason, r.Refused = string(d.Refusal.Kind), true
	}
	if d.Root.Name != "" {
		r.Root = gitindex.Clean(d.Root.String(), 300)
	}
	if u := d.BreakGlass; u != nil {
		until := u.Until.UTC()
		r.BreakGlass, r.Until = gitindex.Clean(u.Reason, 300), &until
	}
	for i := range d.Findings {
		r.Policies = append(r.Policies, policyFinding(&d.Findings[i]))
	}
	r.Owner = req.OwnerKind()
	r.Paths, r.Level = paths(d), string(d.Level())
	if m := d.Manifest; m != nil {
		r.Origin, r.Commit, r.Path, r.Line, r.Blob = m.Origin, m.Commit.ID, m.Path, m.Line, m.Blob
		r.Unit, r.Via = gitindex.Clean(m.Unit, 300), m.Via
		r.Author, r.Signer = m.Commit.Author.String(), m.Commit.Verdict.Signer.String()
	}
	return r
}

func policyFinding(f *gate.Finding) PolicyFinding {
	return PolicyFinding{Policy: gitindex.Clean(f.Policy, 200), Rule: gitindex.Clean(f.Rule, 100), Kind: string(f.Kind), Action: f.Action.String(), Gate: f.Gate,
		Origin: f.Origin, Revision: f.Revision, File: gitindex.Clean(f.File, 300), Line: f.Line}
}

// paths lists what had another reason than Git, and what had none. Paths name
// fields and keys, never values.
func paths(d *gate.Decision) map[string][]string {
	out := map[string][]string{}
	for reason, list := range d.Reasons {
		out[string(reason)] = list
	}
	for _, diff := range d.Drift {
		out["Drift"] = append(out["Drift"], gitindex.Clean(diff.Path, 200))
	}
	if d.Refusal != nil {
		for _, diff := range d.Refusal.Diffs {
			out["None"] = append(out["None"], gitindex.Clean(diff.Path, 200))
		}
	}
	for reason, list := range out {
		if len(list) > 20 {
			out[reason] = append(list[:20:20], fmt.Sprintf("and %d more", len(list)-20))
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// maybeImpersonated: a service account that comes with a token of its own has a
// uid; one that is merely impersonated, as a rule, has none.
func maybeImpersonated(u gate.User) bool {
	const prefix = "system:serviceaccount:"
	return len(u.Name) > len(prefix) && u.Name[:len(prefix)] == prefix && u.UID == ""
}

func (l *Lines) digest(req *gate.Request) string {
	object := req.Object
	if len(object) == 0 {
		object = req.OldObject
	}
	if len(object) == 0 {
		return ""
	}
	if req.Kind != "Secret" {
		sum := sha256.Sum256(object)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	mac := hmac.New(sha256.New, l.key[:])
	mac.Write(object)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
}

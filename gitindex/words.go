// Package gitindex answers one question: which trusted commit declares this
// object? It holds the words the rest of the project speaks (Ref, Manifest,
// Commit, Verdict) and the immutable Snapshot that a decision reads.
//
// The rooms below it produce those values: gitrepo fetches and walks,
// signature verifies, render parses, canonical normalises, controller keeps
// the whole current. Nothing here does I/O, and nothing here changes after it
// has been published.
package gitindex

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Ref names one object as Kubernetes addresses it, whatever API version it is
// written in. Namespace is empty for a cluster-scoped object.
type Ref struct {
	Group, Kind, Namespace, Name string
}

// String is how people write it: "Deployment shop/web", "ClusterRole admin".
// The group is left out; where two groups share a kind, say the group too.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + plainName(r.Name)
	}
	return r.Kind + " " + r.Namespace + "/" + plainName(r.Name)
}

// plainName spells out what is not ASCII: RBAC takes any letter in a name, and
// some look like others.
func plainName(name string) string {
	for i := range len(name) {
		if name[i] >= 0x80 {
			quoted := strconv.QuoteToASCII(name)
			return quoted[1 : len(quoted)-1]
		}
	}
	return name
}

// GroupKind is the ref's kind with its group, as kubectl prints it:
// "Deployment.apps", or "Pod" for the core group.
func (r Ref) GroupKind() string {
	if r.Group == "" {
		return r.Kind
	}
	return r.Kind + "." + r.Group
}

// Person is a name and address as a commit claims it. It is free text: nothing
// proves it. The signer is the identity.
type Person struct {
	Name, Email string
	When        time.Time
}

// String is "Name <email>", each part cleaned of control and direction
// characters and cut to a bounded length, so that it may go into an annotation
// or a message.
func (p Person) String() string {
	return Clean(p.Name, 120) + " <" + Clean(p.Email, 120) + ">"
}

// Commit is what the index keeps of one commit.
type Commit struct {
	ID                string // 40 hex digits
	Parents           []string
	Author, Committer Person // as claimed
	Subject           string // first line of the message, uncleaned
	Verdict           Verdict
	FirstSeen         time.Time // when this gateway first held the commit
	// Merged are the merged commits that have all that this one changes as it has
	// it, and whose signatures count.
	Merged []Merged
}

// Merged is a second voice for what a merge brings in.
type Merged struct {
	ID                string
	Author, Committer Person // as claimed
	Signer            Signer
}

// Short is the abbreviated commit id used in messages.
func (c *Commit) Short() string { return Short(c.ID) }

// Short abbreviates a commit id to the seven digits git shows.
func Short(id string) string {
	if len(id) > 7 {
		return id[:7]
	}
	return id
}

// Outcome says what became of checking one signature. The zero value refuses.
type Outcome uint8

// The outcomes never share a text: a person must see at once which it is.
const (
	NotChecked     Outcome = iota // no signers are configured, or nobody asked
	Good                          // signed by a trusted key that was valid
	Unsigned                      // the commit carries no signature
	UnknownSigner                 // signed by a key that is not trusted here
	SignerExpired                 // a trusted key, outside its validity
	SignerRevoked                 // a trusted key that was revoked
	SignerNotValid                // a trusted key, not for this use: namespace, algorithm, strength
	BadSignature                  // the signature does not fit the commit
	Malformed                     // the commit object itself is refused by the strict parser
	Sealed                        // history at or before the Origin's anchor, accepted as it is
)

var outcomeNames = [...]string{"NotChecked", "Good", "Unsigned", "UnknownSigner", "SignerExpired",
	"SignerRevoked", "SignerNotValid", "BadSignature", "Malformed", "Sealed"}

// String is the outcome's stable name, used in JSON, metrics and docs.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "NotChecked"
}

// Trusted reports whether a commit with this outcome may declare objects.
func (o Outcome) Trusted() bool { return o == Good || o == Sealed }

// Signer is who made a signature.
type Signer struct {
	Kind        string // "ssh", "openpgp"
	Fingerprint string // "SHA256:…" for SSH, 40 or 64 upper-case hex digits for OpenPGP
	Principal   string // the allowed_signers principal or OpenPGP user id that the key is trusted as
}

// String is the form of the gitward.dev/signer annotation:
// "ssh:SHA256:9uKx… (ada@acme.dev)". It is empty for no signer.
func (s Signer) String() string {
	if s.Kind == "" {
		return ""
	}
	out := s.Kind + ":" + s.Fingerprint
	if s.Principal != "" {
		out += " (" + Clean(s.Principal, 160) + ")"
	}
	return out
}

// Verdict is the result of checking one commit's signature.
type Verdict struct {
	Outcome Outcome
	Signer  Signer // as far as the signature names one, also when it is not trusted
	Detail  string // one plain sentence of evidence, never empty unless Good or Sealed
}

// Manifest is one object as a commit declares it.
type Manifest struct {
	Ref        Ref
	APIVersion string // as declared: "apps/v1"
	Origin     string
	Path       string // of the file, in the repository
	Blob       string // the file's blob id
	Line, End  int    // first and last line of the object in the file, from 1
	Declared   string // the namespace as the file has it, empty where it leaves that to the unit
	// Alternate marks the second of two manifests made from one object whose
	// kind's scope is not known, so that it is found under either address.
	Alternate bool
	// Raw is the object as declared, as compact JSON with sorted keys: what an
	// applier reads from the file. The namespace is filled in where the file
	// leaves it to the unit.
	Raw []byte
	// Canonical is what the API server makes of Raw in the same API version,
	// defaults and all, as compact JSON with sorted keys. Nil while the kind's
	// schema is not known; then CanonicalError says why.
	Canonical      []byte
	CanonicalError string
	// Unit is the rendered unit that the manifest comes from; empty where the
	// file is read as it stands.
	Unit  string
	Level Level // empty counts as Exact
	// Via is the Origin whose object opened the unit, where that is another one
	// than holds the content. The manifest counts only where both may declare the
	// object: the opener can change all that it renders.
	Via string
	// Claimed are the Origins whose objects open a unit over the manifest's file.
	// It does not count where one of them may declare the object: then that unit
	// says how the file is rendered.
	Claimed []string
	// Applier is what applies the manifest's unit; nil if nothing is known.
	Applier *Applier
	// Hook and Bare say which of the applier's decorations the object does
	// without: see render.Object.
	Hook, Bare bool
	Holes      []Hole
	// Live are anchored paths at which the applier sends what is live already.
	Live []string
	// Recreate says that Git lets the applier delete the object and make it anew
	// where it cannot be brought to Git's state otherwise: Flux' spec.force, Argo
	// CD's Force and Replace.
	Recreate bool
	// Owner is the declared object that a controller makes this one from, and
	// names as its controller: an ApplicationSet. Nil for most.
	Owner *Ref
	// Commit is the one that last changed this object's rendered form.
	Commit *Commit
}

// Applier is the one object through which a tool applies a unit. The labels and
// annotations it adds are computed from it, never taken from a request.
type Applier struct {
	FluxName, FluxNamespace string // a Flux Kustomization
	ArgoApplication         string // an Argo CD Application
	ArgoNamespace           string // its destination's: in the tracking id of what has none
	ArgoInstallationID      string
	ArgoInstanceLabel       string // set in label tracking mode
	// A Helm release, whoever installs it, and the Flux HelmRelease that does.
	HelmRelease, HelmNamespace            string
	HelmStorageNamespace                  string // of the release's own Secrets; empty: the HelmRelease's, else HelmNamespace
	FluxHelmName, FluxHelmNamespace       string
	CreatesNamespace                      string            // the namespace it makes if that is missing
	NamespaceLabels, NamespaceAnnotations map[string]string // that it gives that namespace
}

// Level is how directly Git says what an object is.
type Level string

// The levels, the most direct first.
const (
	Exact     Level = "exact"     // the object stands in a file
	Rendered  Level = "rendered"  // a tool makes it of files of the tree alone
	Pinned    Level = "pinned"    // of content from elsewhere too, fixed by digest
	Templated Level = "templated" // some values are left open: see Hole
	Derived   Level = "derived"   // a controller makes it of a declared object
	Exempt    Level = "exempt"    // nothing in Git: break-glass, exclusion, bootstrap
)

// Hole is one value that Git leaves open, and what may stand there.
type Hole struct {
	// Path is anchored, in the form of a Gate's allowFields:
	// spec.template.spec.containers[name=web].image, data.password.
	Path string
	// Pattern is an RE2 pattern that the whole value must match; empty: any
	// value of the type that the manifest has there.
	Pattern string
	// Digest, if not empty, is of the one value that may stand there, as
	// Snapshot.Digest makes it: of the text of a scalar, and for the data of a
	// Secret of what the base64 decodes to. Git holds the value encrypted; here it
	// is held in no form that tells it.
	Digest string
	// Why says what the value depends on, for people: "Secret shop/db".
	Why string
}

// Place is where the manifest stands, for people: "platform@4f2a91c a/b.yaml:31".
// Of what a tool rendered, the line may not be known, or not even the file.
func (m *Manifest) Place() string {
	place := m.Origin + "@" + m.Commit.Short()
	if m.Path != "" {
		place += " " + Clean(m.Path, 200)
	}
	if m.Line > 0 {
		place += ":" + strconv.Itoa(m.Line)
	}
	return place
}

// Problem is something in a repository that people should mend: a file that
// does not parse, an object declared twice. It never stops anything else.
type Problem struct {
	Path    string
	Line    int // from 1; 0 when the whole file is meant
	Message string
}

// String is "path:line: message", the form editors and people know.
func (p Problem) String() string {
	if p.Line == 0 {
		return Clean(p.Path, 200) + ": " + p.Message
	}
	return Clean(p.Path, 200) + ":" + strconv.Itoa(p.Line) + ": " + p.Message
}

// Clean makes text of unknown source fit for a message, an annotation or a
// log: control characters, line breaks and the Unicode characters that change
// the direction or visibility of text become '?', and it is cut to max runes.
func Clean(s string, max int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == max {
			b.WriteRune('…')
			break
		}
		if unprintable(r) {
			r = '?'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

var (
	userInfo     = regexp.MustCompile(`//[^/@\s]*@`)
	secretValues = regexp.MustCompile(`(?i)([?&][^=&\s]*(?:token|sig|key|secret|pass|auth)[^=&\s]*=)[^&\s]*`)
)

// CleanURL is Clean for text with URLs in it: people do write passwords into
// them, so the user and what looks like a secret in a query are left out.
func CleanURL(s string, max int) string {
	s = userInfo.ReplaceAllString(s, "//")
	return Clean(secretValues.ReplaceAllString(s, "$1…"), max)
}

func unprintable(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0, r == 0xfffd:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, r == 0x061c, r == 0x00ad,
		r == 0x180e, r == 0x3164, r >= 0xfe00 && r <= 0xfe0f, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe01ef:
		return true
	}
	return false
}

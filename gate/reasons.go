package gate

// Reason says why a change or a whole request is allowed.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	ByGit        Reason = "Git"         // the value is Git's, defaults included
	ByServer     Reason = "Server"      // only the API server can have set it
	ByApplier    Reason = "Applier"     // what the unit's applier adds, at its computed value
	ByHole       Reason = "Hole"        // a value that Git leaves open, of the type and pattern that it says
	ByLive       Reason = "Live"        // what was there stays, at a path where the unit's applier leaves it
	ByController Reason = "Controller"  // a controller's own field, by user, kind and path
	ByRule       Reason = "Rule"        // the Gate's allowFields or allowVerbs
	ByStamp      Reason = "Stamp"       // a gitward.dev annotation at its computed value
	Derived      Reason = "Derived"     // made by its controller from a declared object
	Platform     Reason = "Platform"    // what Kubernetes itself keeps
	Excluded     Reason = "Excluded"    // the Gate's exclude
	BrokenGlass  Reason = "BreakGlass"  // an emergency, recorded as debt
	NoChange     Reason = "NoChange"    // the request changes nothing
	NotGated     Reason = "NotGated"    // no Gate matches the request
	NotDeclared  Reason = "NotDeclared" // a deletion of what Git does not declare
)

// Refused says why a request is refused. The names are stable: they are in
// records, audit annotations and docs.
type Refused string

// The refusals. Transient ones answer 429 and heal by themselves.
const (
	NotInGit       Refused = "NotInGit"
	Differs        Refused = "Differs"
	Unsigned       Refused = "Unsigned"
	UnknownSigner  Refused = "UnknownSigner"
	SignerExpired  Refused = "SignerExpired"
	SignerRevoked  Refused = "SignerRevoked"
	SignerNotValid Refused = "SignerNotValid"
	BadSignature   Refused = "BadSignature"
	Malformed      Refused = "Malformed" // the commit object itself is not in order
	NotChecked     Refused = "NotChecked"
	WrongNamespace Refused = "WrongNamespace"
	Outdated       Refused = "Outdated"
	StillInGit     Refused = "StillInGit"
	ForgedStamp    Refused = "ForgedStamp"
	NotDerived     Refused = "NotDerived"     // claims an owner, but is not what its controller would make of it
	DerivedOnly    Refused = "DerivedOnly"    // a derived object, changed by somebody else than its controller
	VerbNotAllowed Refused = "VerbNotAllowed" // exec, token and the like, which no file in Git can declare
	OwnerUnknown   Refused = "OwnerUnknown"   // transient: the owner has not been seen yet
	NoRule         Refused = "NoRule"         // nothing in this version says when it may pass
	NotComparable  Refused = "NotComparable"  // Git's form cannot be brought to the request's
	StaleStamp     Refused = "StaleStamp"     // transient
	OriginStale    Refused = "OriginStale"    // transient
	OriginNotReady Refused = "OriginNotReady" // transient
	SchemaUnknown  Refused = "SchemaUnknown"  // transient: the kind's CRD has not been seen yet
	Unreadable     Refused = "Unreadable"     // the request could not be read
	NotRecorded    Refused = "NotRecorded"    // transient: the record could not be written

	PolicyViolation Refused = "PolicyViolation"
	PolicyFailed    Refused = "PolicyFailed"   // a policy that governs the request could not be evaluated
	PolicyNotReady  Refused = "PolicyNotReady" // transient: the policies cannot be asked
)

// Transient reports whether a refusal heals by itself, so that the client
// should try again: HTTP 429 with Retry-After.
func (r Refused) Transient() bool {
	switch r {
	case StaleStamp, SchemaUnknown, OwnerUnknown, OriginStale, OriginNotReady, NotRecorded, PolicyNotReady:
		return true
	}
	return false
}

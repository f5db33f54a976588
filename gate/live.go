package gate

import (
	"sync/atomic"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// Live answers from memory what is live in the cluster: the objects that others
// are derived from. It never asks the API server.
type Live interface {
	// Object finds a live object by its uid; nil when it is not known. The
	// answer is immutable.
	Object(uid string) *LiveObject
	// Find finds it by kind, namespace and name.
	Find(ref gitindex.Ref) *LiveObject
	// Changed is closed at the next change of anything live.
	Changed() <-chan struct{}
}

// LiveObject is what is kept of a live object: enough to hold against it what
// its controller makes of it, and nothing confidential.
type LiveObject struct {
	Ref        gitindex.Ref
	APIVersion string
	UID        string
	// Owner is the controller ownerReference; the zero value when it has none.
	Owner    Owner
	Deleting bool
	// Labels are a Namespace's; of other kinds they are not kept.
	Labels map[string]string
	// Stamps are its gitward.dev annotations.
	Stamps map[string]string
	// Template is JSON of what its controller copies from: the pod template, the
	// job template, the claim templates, as the field's own path has it under
	// spec: {"template": ...}. Nil for kinds without one.
	Template []byte

	// asIn is the last manifest whose templates were found to be these: many Pods
	// are made of one owner, and neither changes.
	asIn atomic.Pointer[gitindex.Manifest]
}

// Owner is a controller ownerReference.
type Owner struct {
	APIVersion, Kind, Name, UID string
}

// catchUp is how long a request of a controller waits for the live objects that
// it rests on to be seen here: a controller can be faster than the watch.
const catchUp = 2 * time.Second

// Use is one use of break-glass.
type Use struct {
	Gate              string
	Ref               gitindex.Ref
	Version, Resource string
	Operation         Operation
	User, Reason      string
	Decision          string
	Since, At, Until  time.Time
	Count             int
}

// Ledger keeps the uses of break-glass. Note returns at once; what it notes is
// in the answers of Open at once, too.
type Ledger interface {
	Note(Use)
	// Open finds the open use for an object under a Gate; false when there is
	// none.
	Open(gate string, ref gitindex.Ref) (Use, bool)
}

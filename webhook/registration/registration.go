// Package registration answers: does the API server still ask Gitward?
//
// It asks because of two webhook configurations. Whoever takes them away, or
// narrows them, opens the cluster without Gitward being asked about it: webhooks
// are never called for webhook configurations. So a Guard watches both, puts
// them back, and names what was written to the cluster in between.
//
// What they should be is what a Guard first saw complete. It is kept in a
// ConfigMap of Gitward's own namespace, where only Gitward's installation may
// write, so that a fresh replica knows it too; and in a file beside it. To
// change the configurations for good, make the ConfigMap gitward-installation
// anew first, as Helm and `gitward install` do: for ten minutes the Guards then
// stand aside, and what is complete and stands still for a while is what is kept.
// To do so at any time, delete the ConfigMap gitward-registration, or annotate it
// with gitward.dev/adopt: "true".
package registration

import (
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// The configurations that make the API server ask, and where is kept what they
// should be.
const (
	Judge     = "from-git.gitward.dev"
	Annotator = "annotate.gitward.dev"
	ConfigMap = "gitward-registration"

	// Installation is the ConfigMap that announces an installation: while it is
	// young, a Guard stands aside.
	Installation = "gitward-installation"

	// AdoptAnnotation on the ConfigMap, "true", has the next form adopted.
	AdoptAnnotation = "gitward.dev/adopt"
)

// configurations are the resources of both.
var configurations = map[string]schema.GroupVersionResource{
	Judge:     {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
	Annotator: {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
}

// Gap is a span of time in which the API server did not ask as it should.
type Gap struct {
	Configuration string
	What          string // "deleted", or "changed: " or "adopted: " and the fields
	Start, End    time.Time
	// Writes are those after StartVersion and up to EndVersion. EndVersion is a
	// little later than the restoration: API servers hear of that with a delay.
	StartVersion, EndVersion string
	// By are the field managers of the change. Managers are chosen by clients:
	// hints, not proof. Nobody signs a deletion.
	By       []string
	Restored bool // by this Guard; false: by others, or not at all
	// StandDown is why a Guard left the gap open for a time, or adopted what it
	// found.
	StandDown string
	Writes    []Write
	More      int // writes beyond those named
	// Incomplete says what Writes may lack; empty when they are all.
	Incomplete string
}

// Write is one change of an object, known by its metadata alone.
type Write struct {
	Type                 string // ADDED, MODIFIED or DELETED
	APIVersion, Kind     string
	Namespace, Name      string
	UID, ResourceVersion string
	Managers             []string // the latest first
}

// Recorder keeps gaps for good.
type Recorder interface {
	RecordGap(Gap) error
}

// Guard keeps both configurations as they should be.
type Guard struct {
	Config    *rest.Config // of the cluster
	Namespace string       // Gitward's own
	StateDir  string
	Recorder  Recorder
	// StandDown says whether somebody opened the gap as an emergency asks for, and
	// why; nil means never.
	StandDown func() (reason string, ok bool)
	Log       *slog.Logger

	// Settle is how long a form stands still before it is adopted; zero means 30
	// seconds. It must leave an installation the time to change both.
	Settle time.Duration
	// Window is for how long an installation counts as under way once it was
	// announced; zero means 10 minutes.
	Window time.Duration
}

const (
	// pollEvery is how long a dead watch can hide a gap.
	pollEvery = 5 * time.Second
	// lag is how long after the restoration an API server may still not ask.
	// Another gap within it continues the first.
	lag = time.Second
	// silence ends the collection of writes after it.
	silence = 3 * time.Second
	// restoreGap bounds a quarrel with somebody who keeps changing it back.
	restoreGap = 250 * time.Millisecond
	// longestQuarrel bounds how long closed gaps are continued: then the record
	// is due.
	longestQuarrel = time.Minute
	// mostWrites are named of one gap.
	mostWrites = 10_000

	settle  = 30 * time.Second
	window  = 10 * time.Minute
	manager = "gitward-registration"
)

func (g *Guard) settle() time.Duration {
	if g.Settle > 0 {
		return g.Settle
	}
	return settle
}

func (g *Guard) window() time.Duration {
	if g.Window > 0 {
		return g.Window
	}
	return window
}

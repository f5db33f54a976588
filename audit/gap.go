package audit

import (
	"encoding/json"
	"fmt"
	"time"
)

// GapRecord is a span of time in which the API server did not ask Gitward as it
// should, with what was written meanwhile. Like Record it holds names and no
// values.
type GapRecord struct {
	Time      time.Time `json:"time"`
	Seq       uint64    `json:"seq"` // within one replica's run
	Replica   string    `json:"replica,omitempty"`
	Cluster   string    `json:"cluster,omitempty"`
	Operation string    `json:"operation"` // always GAP

	Configuration string    `json:"configuration"`
	What          string    `json:"what"`
	Start         time.Time `json:"start"`
	End           time.Time `json:"end,omitzero"` // none: still open when Gitward stopped
	StartVersion  string    `json:"startVersion"`
	EndVersion    string    `json:"endVersion,omitempty"`
	By            []string  `json:"by,omitempty"` // field managers: a hint
	Restored      bool      `json:"restored"`
	StandDown     string    `json:"standDown,omitempty"`

	Writes     []GapWrite `json:"writes"`
	More       int        `json:"more,omitempty"`       // beyond those named
	Incomplete string     `json:"incomplete,omitempty"` // what writes may lack
}

// GapWrite is one change of an object that was made in a gap.
type GapWrite struct {
	Type            string   `json:"type"`
	APIVersion      string   `json:"apiVersion"`
	Kind            string   `json:"kind"`
	Namespace       string   `json:"namespace,omitempty"`
	Name            string   `json:"name"`
	UID             string   `json:"uid"`
	ResourceVersion string   `json:"resourceVersion"`
	Managers        []string `json:"managers,omitempty"` // the latest first
}

// RecordGap appends one gap. Time, Seq, Replica, Cluster and Operation are
// filled in.
func (l *Lines) RecordGap(g GapRecord) error {
	g.Time, g.Replica, g.Cluster, g.Operation = time.Now().UTC(), l.replica, l.cluster, "GAP"
	if g.Writes == nil {
		g.Writes = []GapWrite{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	g.Seq = l.seq
	line, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("writing a gap of %s: %w", g.Configuration, err)
	}
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing a gap of %s: %w", g.Configuration, err)
	}
	return nil
}

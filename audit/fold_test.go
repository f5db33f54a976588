package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gitward/gitward/gate"
)

// pipe is a disk that can be full.
type pipe struct {
	bytes.Buffer
	full bool
}

func (p *pipe) Write(b []byte) (int, error) {
	if p.full {
		return 0, errors.New("no space left on device")
	}
	return p.Buffer.Write(b)
}

func folder(t *testing.T) (*Folder, *pipe, *time.Time) {
	t.Helper()
	p, now := &pipe{}, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	lines, err := NewLines(p, "r1", "prod")
	if err != nil {
		t.Fatal(err)
	}
	return &Folder{Lines: lines, Now: func() time.Time { return now }}, p, &now
}

func deny(t *testing.T, f *Folder, user string, times int) {
	t.Helper()
	for i := range times {
		err := f.Record(&gate.Request{Operation: gate.Create, Version: "v1", Kind: "ConfigMap", Resource: "configmaps", Namespace: "shop", Name: "x", User: gate.User{Name: user}},
			&gate.Decision{ID: fmt.Sprint("d-", i), Gate: "default", Action: gate.Deny, Refusal: &gate.Refusal{Kind: gate.NotInGit}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// read counts the records by kind, and the denials that they stand for.
func read(t *testing.T, p *pipe) (lines, folded int, denials int64, all []FoldRecord) {
	t.Helper()
	for line := range bytes.Lines(p.Bytes()) {
		var r FoldRecord
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		lines++
		if r.Operation == "FOLDED" {
			folded++
			denials += r.Count
			all = append(all, r)
		} else {
			denials++
		}
	}
	return lines, folded, denials, all
}

// TestFlood: one user's ten thousand denials leave few records, and no other
// user's are folded.
func TestFlood(t *testing.T) {
	f, p, now := folder(t)
	deny(t, f, "mallory", 10_000)
	deny(t, f, "ada", 50)
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	lines, folded, denials, all := read(t, p)
	if lines != userBurst+50+1 || folded != 1 || denials != 10_050 {
		t.Fatalf("%d records, %d of them counts, for %d denials", lines, folded, denials)
	}
	if r := all[0]; r.User != "mallory" || r.Reason != "NotInGit" || r.Verb != "CREATE" || r.Resource != "configmaps" || r.Namespace != "shop" || r.Example != "d-9999" || r.Replica != "r1" {
		t.Errorf("%+v", r)
	}
	*now = now.Add(time.Minute)
	p.Reset()
	deny(t, f, "mallory", 10)
	if lines, folded, _, _ := read(t, p); lines != 10 || folded != 0 {
		t.Errorf("after a pause: %d records, %d of them counts", lines, folded)
	}
}

// TestFloodOfUsers: somebody who may impersonate takes a new name each time.
func TestFloodOfUsers(t *testing.T) {
	f, p, _ := folder(t)
	for i := range 20_000 {
		deny(t, f, fmt.Sprint("u", i), 1)
	}
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	lines, _, denials, _ := read(t, p)
	if lines > totalBurst+mostFolds+1 || denials != 20_000 {
		t.Errorf("%d records for %d denials", lines, denials)
	}
	if len(f.users) > mostUsers {
		t.Errorf("%d users are remembered", len(f.users))
	}
}

// TestAdmissionsAreNeverFolded: what came into the cluster has its record.
func TestAdmissionsAreNeverFolded(t *testing.T) {
	f, p, _ := folder(t)
	req, d := decision()
	d.Allowed, d.Refusal = true, &gate.Refusal{Kind: gate.NotInGit} // as under Audit
	for range 3 * userBurst {
		if err := f.Record(req, d); err != nil {
			t.Fatal(err)
		}
	}
	if lines, folded, _, _ := read(t, p); lines != 3*userBurst || folded != 0 {
		t.Errorf("%d records, %d of them counts", lines, folded)
	}
}

func TestFullDiskLosesNoCounts(t *testing.T) {
	f, p, _ := folder(t)
	deny(t, f, "mallory", userBurst+7)
	p.full = true
	if err := f.Flush(); err == nil {
		t.Error("a full disk is no error")
	}
	deny(t, f, "mallory", 3)
	p.full = false
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, folded, denials, _ := read(t, p); folded != 1 || denials != userBurst+10 {
		t.Errorf("%d counts, %d denials", folded, denials)
	}
}

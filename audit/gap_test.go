package audit

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func TestRecordGap(t *testing.T) {
	var b bytes.Buffer
	l, err := NewLines(&b, "r1", "prod")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	gap := GapRecord{Configuration: "from-git.gitward.dev", What: "deleted", Start: start, End: start.Add(time.Second), StartVersion: "10", EndVersion: "19",
		Restored: true, Writes: []GapWrite{{Type: "ADDED", APIVersion: "v1", Kind: "Secret", Namespace: "shop", Name: "s", UID: "u", ResourceVersion: "12"}}}
	for range 2 {
		if err := l.RecordGap(gap); err != nil {
			t.Fatal(err)
		}
	}
	lines := bytes.Split(bytes.TrimSpace(b.Bytes()), []byte("\n"))
	var got GapRecord
	if err := json.Unmarshal(lines[1], &got); err != nil || len(lines) != 2 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if got.Operation != "GAP" || got.Seq != 2 || got.Replica != "r1" || got.Cluster != "prod" || got.Time.IsZero() ||
		len(got.Writes) != 1 || got.Writes[0].Name != "s" || !got.End.Equal(gap.End) {
		t.Errorf("got %+v", got)
	}
}

// A gap that is still open has no end, and one without writes says so.
func TestRecordOpenGap(t *testing.T) {
	var b bytes.Buffer
	l, err := NewLines(&b, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.RecordGap(GapRecord{Configuration: "c"}); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if _, has := got["end"]; has || got["writes"] == nil {
		t.Errorf("got %s", b.Bytes())
	}
}

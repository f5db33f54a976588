package attacks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/server"
)

// gitward is the program under test, as a process.
type gitward struct{ *server.Gitward }

func newGitward(t testing.TB, plane *controlplane.ControlPlane, dir string, extra ...string) *gitward {
	t.Helper()
	g := &gitward{server.New(t, dir, plane.Kubeconfig(ownUser), extra...)}
	g.start(t)
	return g
}

func (g *gitward) start(t testing.TB) {
	t.Helper()
	g.Serve(t, 20*time.Second)
}

var decisionForm = regexp.MustCompile(`decision (d-[0-9A-Z]+)`)

// recordOf finds the record of the decision that a refusal names.
func (g *gitward) recordOf(refusal error) (audit.Record, error) {
	var r audit.Record
	m := decisionForm.FindStringSubmatch(refusal.Error())
	if m == nil {
		return r, fmt.Errorf("the refusal names no decision: %w", refusal)
	}
	data, err := os.ReadFile(g.Records)
	if err != nil {
		return r, err
	}
	at := bytes.LastIndex(data, []byte(`"decision":"`+m[1]+`"`))
	if at < 0 {
		return r, fmt.Errorf("decision %s is in no record", m[1])
	}
	start := bytes.LastIndexByte(data[:at], '\n') + 1
	line, _, _ := bytes.Cut(data[start:], []byte("\n"))
	return r, json.Unmarshal(line, &r)
}

// size is how much was recorded so far, in lines and bytes.
func (g *gitward) size(t testing.TB) (lines, bytes int) {
	t.Helper()
	f, err := os.Open(g.Records)
	check(t, err)
	defer f.Close()
	for r := bufio.NewScanner(f); r.Scan(); lines++ {
		bytes += len(r.Bytes()) + 1
	}
	return lines, bytes
}

// deniedSince counts the denials in the records from a line on, one by one and
// folded.
func (g *gitward) deniedSince(t testing.TB, line int) (n int64) {
	t.Helper()
	data, err := os.ReadFile(g.Records)
	check(t, err)
	for _, text := range bytes.Split(bytes.TrimSpace(data), []byte("\n"))[line:] {
		var r struct {
			Operation string
			Allowed   bool
			Count     int64
		}
		check(t, json.Unmarshal(text, &r))
		switch {
		case r.Operation == "FOLDED":
			n += r.Count
		case !r.Allowed:
			n++
		}
	}
	return n
}

// recordsSince reads the records from a line on.
func (g *gitward) recordsSince(t testing.TB, line int) []audit.Record {
	t.Helper()
	data, err := os.ReadFile(g.Records)
	check(t, err)
	var all []audit.Record
	for _, text := range bytes.Split(bytes.TrimSpace(data), []byte("\n"))[line:] {
		var r audit.Record
		check(t, json.Unmarshal(text, &r))
		all = append(all, r)
	}
	return all
}

package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

func decision() (*gate.Request, *gate.Decision) {
	req := &gate.Request{UID: "u", Operation: gate.Update, Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", ResourceGroup: "apps", Namespace: "shop", Name: "web",
		User: gate.User{Name: "system:serviceaccount:ci:deployer", Groups: []string{"system:authenticated"}}, FieldManager: "kubectl\n",
		Object: []byte(`{"data":{"password":"aHVudGVyMg=="}}`)}
	return req, &gate.Decision{ID: "d-1", At: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Gate: "default", Allowed: true, Reason: gate.ByGit, ObjectUID: "o",
		Reasons:   map[gate.Reason][]string{gate.ByServer: {"spec.clusterIP"}},
		Drift:     []gate.Difference{{Path: "spec.replicas", New: "hunter2"}},
		Revisions: map[string]string{"platform": "4f2a"},
		Manifest: &gitindex.Manifest{Origin: "platform", Path: "web.yaml", Line: 3, Blob: "b10b", Commit: &gitindex.Commit{ID: "4f2a",
			Author:  gitindex.Person{Name: "Ada\nEvil", Email: "ada@acme.dev"},
			Verdict: gitindex.Verdict{Outcome: gitindex.Good, Signer: gitindex.Signer{Kind: "ssh", Fingerprint: "SHA256:x", Principal: "ada"}}}}}
}

func TestRecord(t *testing.T) {
	var b bytes.Buffer
	l, err := NewLines(&b, "r1", "prod")
	if err != nil {
		t.Fatal(err)
	}
	req, d := decision()
	if err := l.Record(req, d); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || strings.Count(b.String(), "\n") != 1 {
		t.Fatalf("%q: %v", b.String(), err)
	}
	for field, want := range map[string]any{"seq": 1.0, "replica": "r1", "cluster": "prod", "decision": "d-1", "uid": "u", "operation": "UPDATE",
		"apiVersion": "apps/v1", "kind": "Deployment", "resource": "deployments", "resourceGroup": "apps", "namespace": "shop", "name": "web", "objectUID": "o", "maybeImpersonated": true, "fieldManager": "kubectl?",
		"gate": "default", "action": "Deny", "allowed": true, "reason": "Git", "origin": "platform", "commit": "4f2a", "author": "Ada?Evil <ada@acme.dev>",
		"signer": "ssh:SHA256:x (ada)", "path": "web.yaml", "line": 3.0, "blob": "b10b", "time": "2026-11-20T12:00:00Z",
		"paths":     map[string]any{"Server": []any{"spec.clusterIP"}, "Drift": []any{"spec.replicas"}},
		"revisions": map[string]any{"platform": "4f2a"}} {
		if !reflect.DeepEqual(got[field], want) {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "aHVudGVyMg") {
		t.Errorf("a value is in the record: %s", b.String())
	}
}

// The digest of a Secret must not let anybody try values against it.
func TestDigestOfSecrets(t *testing.T) {
	one, _ := NewLines(&bytes.Buffer{}, "", "")
	two, _ := NewLines(&bytes.Buffer{}, "", "")
	req, _ := decision()
	if one.digest(req) != two.digest(req) || !strings.HasPrefix(one.digest(req), "sha256:") {
		t.Error("the digest of an ordinary object depends on the process")
	}
	req.Kind = "Secret"
	if again := one.digest(req); one.digest(req) == two.digest(req) || one.digest(req) != again || !strings.HasPrefix(one.digest(req), "hmac-sha256:") {
		t.Error("the digest of a Secret is the same for everybody")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestWhatCannotBeRecordedIsAnError(t *testing.T) {
	l, _ := NewLines(full{}, "", "")
	req, d := decision()
	if err := l.Record(req, d); err == nil {
		t.Error("a full disk goes unnoticed")
	}
}

func TestConcurrentRecordsAreWholeLines(t *testing.T) {
	var b bytes.Buffer
	l, _ := NewLines(&b, "", "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				req, d := decision()
				if err := l.Record(req, d); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[uint64]bool{}
	for line := range strings.Lines(b.String()) {
		var r Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		seen[r.Seq] = true
	}
	if len(seen) != 400 {
		t.Errorf("%d numbers for 400 records", len(seen))
	}
}

package controller

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/render/worker"
)

// What sops itself encrypted, and what it holds: see the sops room's tests.
const (
	password = "correct-horse-battery-staple"
	later    = "another-password-altogether"
	user     = "administrator-of-everything"
)

func sopsFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "render", "sops", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var db = gitindex.Ref{Kind: "Secret", Namespace: "shop", Name: "db"}

// encryptedScene is a Flux repository with an encrypted Secret, whose units are
// rendered by a child process; the key is that of the entries, if there are any.
func encryptedScene(t *testing.T, entries map[string][]byte, secret string) *scene {
	t.Helper()
	w := newScene(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pool := &worker.Pool{Command: []string{exe, asChild}}
	t.Cleanup(pool.Close)
	w.settings.Renderer = pool
	if entries != nil {
		if w.settings.Keys, err = KeysOf("platform", entries); err != nil {
			t.Fatal(err)
		}
	}
	w.commit(w.ada, map[string]string{
		"clusters/flux.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\n" +
			"spec: {interval: 1m, url: '" + w.settings.Spec.URL + "', ref: {branch: main}}\n---\n" + kustomization("apps", "./apps", "  decryption: {provider: sops, secretRef: {name: sops-age}}\n"),
		"apps/db.yaml": secret,
	})
	return w
}

func agekey(t *testing.T, file string) map[string][]byte {
	return map[string][]byte{"age.agekey": []byte(sopsFile(t, file)), "other.txt": []byte("nothing")}
}

// decideSecret asks about the Secret with these values, as Flux applies it.
func decideSecret(t *testing.T, w *scene, s *gitindex.Snapshot, data map[string]string) gate.Decision {
	t.Helper()
	encoded := map[string]string{}
	for name, value := range data {
		encoded[name] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	object, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": encoded,
		"metadata": map[string]any{"name": "db", "namespace": "shop", "labels": map[string]any{
			"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}}})
	if err != nil {
		t.Fatal(err)
	}
	schemas, problems := canonical.New()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	view := &gate.View{Index: gitindex.Index{"platform": s}, Schemas: schemas,
		Rules: []gate.Rule{{Name: "default", ClusterScoped: true, Origins: []gate.Source{{Origin: "platform"}}}}}
	g := &gate.Gate{View: func() *gate.View { return view }, Now: w.settings.Now}
	return g.Decide(context.Background(), &gate.Request{UID: "u", Operation: gate.Create, Version: "v1", Kind: "Secret", Resource: "secrets", Namespace: "shop", Name: "db", Object: object})
}

// TestDecryption: with the key, only Git's values are admitted; a later commit
// with another value is that commit's.
func TestDecryption(t *testing.T) {
	w := encryptedScene(t, agekey(t, "age.agekey"), sopsFile(t, "secret.yaml"))
	s := w.sync()
	e := s.Lookup(db)
	if e == nil || len(e.Current) != 1 || len(s.Problems) > 0 {
		t.Fatalf("the Secret is %+v; problems %v", e, s.Problems)
	}
	mark := placeholder(t, e.Current[0])
	right := map[string]string{"password": password, "user": user, "empty": ""}
	if d := decideSecret(t, w, s, right); !d.Allowed || !d.Traced {
		t.Fatalf("Git's own values are refused: %+v", d.Refusal)
	}
	for name, change := range map[string]map[string]string{
		"another password":   {"password": password + "s"},
		"none":               {"password": ""},
		"swapped":            {"password": user, "user": password},
		"the manifest's own": {"password": mark},
		"its raw text":       {"password": string(mustDecode(t, mark))},
		"the next commit's":  {"password": later},
		"a digest":           {"password": e.Current[0].Holes[0].Digest},
		"another empty one":  {"empty": "x"},
		"one more":           {"more": "x"},
	} {
		wrong := map[string]string{"password": password, "user": user, "empty": ""}
		for k, v := range change {
			wrong[k] = v
		}
		d := decideSecret(t, w, s, wrong)
		if d.Allowed {
			t.Errorf("%s is admitted", name)
		}
		noPiece(t, fmt.Sprintf("the refusal of %s", name), []byte(spoken(d)))
	}
	second := w.commit(w.ben, map[string]string{"apps/db.yaml": sopsFile(t, "changed.yaml")})
	s = w.sync()
	if e = s.Lookup(db); len(e.Current) != 1 || e.Current[0].Commit.ID != second || len(e.Past) != 1 {
		t.Fatalf("after another value was committed, the Secret is %+v", e)
	}
	if d := decideSecret(t, w, s, map[string]string{"password": later, "user": user, "empty": ""}); !d.Allowed {
		t.Errorf("the new value is refused: %+v", d.Refusal)
	}
	w.now = w.now.Add(time.Minute)
	if decideSecret(t, w, s, right).Allowed {
		t.Error("the old value is admitted without a lag")
	}
	w.restart()
	s = w.sync()
	if d := decideSecret(t, w, s, map[string]string{"password": later, "user": user, "empty": ""}); !d.Allowed {
		t.Errorf("after a restart the value is refused: %+v", d.Refusal)
	}
	onDisk(t, w)
	noPiece(t, "what is printed of the settings", []byte(fmt.Sprintf("%v %+v %#v", w.settings, w.settings.Keys, w.settings.Keys)))
	noPiece(t, "the problems", []byte(strings.Join(texts(s.Problems), "\n")))
}

// spoken is all that people read of a decision.
func spoken(d gate.Decision) string {
	if d.Refusal == nil {
		return ""
	}
	return d.Message() + d.Refusal.Head + strings.Join(d.Refusal.Facts, "\n") + d.Refusal.Do
}

func mustDecode(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// placeholder is what the manifest has in the password's place.
func placeholder(t *testing.T, m *gitindex.Manifest) string {
	t.Helper()
	var o struct {
		Data map[string]string `json:"data"`
	}
	if err := json.Unmarshal(m.Raw, &o); err != nil || o.Data["password"] == "" {
		t.Fatalf("the manifest is %s (%v)", m.Raw, err)
	}
	return o.Data["password"]
}

// pieces are what must be found nowhere: of each value any eight bytes, as they
// are and as base64, and any of the keys.
func pieces(t *testing.T) (all [][]byte) {
	for _, v := range []string{password, later, user} {
		for _, form := range []string{v, base64.StdEncoding.EncodeToString([]byte(v))} {
			for i := 0; i+8 <= len(form); i++ {
				if form[i:i+8] != "password" { // which is what the value is called
					all = append(all, []byte(form[i:i+8]))
				}
			}
		}
	}
	for _, line := range strings.Fields(sopsFile(t, "age.agekey")) {
		if strings.HasPrefix(line, "AGE-SECRET-KEY-1") {
			for i := 16; i+8 <= len(line); i++ {
				all = append(all, []byte(line[i:i+8]))
			}
		}
	}
	return all
}

func noPiece(t *testing.T, where string, data []byte) {
	t.Helper()
	for _, p := range pieces(t) {
		if bytes.Contains(data, p) {
			t.Errorf("%s holds %q", where, p)
		}
	}
}

// onDisk looks through the index, of which it is known that it holds digests.
func onDisk(t *testing.T, w *scene) {
	t.Helper()
	if err := w.tracker.Save(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(w.tracker.indexFile())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(w.settings.Keys.Sum([]byte(later)))) {
		t.Error("the index does not hold the digest: the search would find nothing")
	}
	noPiece(t, "the index", data)
	if bytes.Contains(data, w.settings.Keys.Digest) {
		t.Error("the index holds the key of the digests")
	}
}

// TestDecryptionRefused: a document that no key opens, or whose MAC does not fit,
// declares nothing, and that is said; without a key its values are open.
func TestDecryptionRefused(t *testing.T) {
	secret := sopsFile(t, "secret.yaml")
	tampered := strings.Replace(secret, "type: Opaque", "type: example.org/other", 1)
	right := map[string]string{"password": password, "user": user, "empty": ""}
	for name, c := range map[string]struct{ key, file, why string }{
		"another key":  {"other.agekey", secret, "no age key of the Origin opens it"},
		"tampered MAC": {"age.agekey", tampered, "MAC does not fit"},
	} {
		w := encryptedScene(t, agekey(t, c.key), c.file)
		s := w.sync()
		if problems := texts(s.Problems); !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "apps/db.yaml") && strings.Contains(p, c.why) }) {
			t.Errorf("%s: the problems are %v", name, problems)
		}
		if decideSecret(t, w, s, right).Allowed {
			t.Errorf("%s: the Secret is admitted", name)
		}
		noPiece(t, name, []byte(strings.Join(texts(s.Problems), "\n")))
	}
	w := encryptedScene(t, nil, secret)
	s := w.sync()
	if d := decideSecret(t, w, s, map[string]string{"password": "whatever", "user": "whoever", "empty": ""}); !d.Allowed {
		t.Errorf("without a key, a value of the type is refused: %+v", d.Refusal)
	}
}

// TestKeyless: a snapshot that lost its key admits no value, and says why. With
// other keys the index is another.
func TestKeyless(t *testing.T) {
	w := encryptedScene(t, agekey(t, "age.agekey"), sopsFile(t, "secret.yaml"))
	s := w.sync()
	gone := *s
	d := decideSecret(t, w, gone.Keyed(nil), map[string]string{"password": password, "user": user, "empty": ""})
	if d.Allowed || !strings.Contains(spoken(d), "no age key of the Origin is at hand") {
		t.Errorf("without the key: %v, %+v", d.Allowed, d.Refusal)
	}
	with := w.settings.digest()
	w.settings.Keys.Identities, w.settings.Keys.Digest = nil, nil
	without := w.settings.digest()
	other, err := KeysOf("platform", agekey(t, "other.agekey"))
	if err != nil {
		t.Fatal(err)
	}
	w.settings.Keys = other
	if with == without || w.settings.digest() == with || w.settings.digest() == without {
		t.Error("settings with other keys have one digest")
	}
	for _, wrong := range []map[string][]byte{nil, {"age.txt": []byte(sopsFile(t, "age.agekey"))}, {"a.agekey": []byte("AGE-SECRET-KEY-1NOTONE")}} {
		if _, err := KeysOf("platform", wrong); err == nil || strings.Contains(err.Error(), "NOTONE") {
			t.Errorf("%d entries: %v", len(wrong), err)
		}
	}
}

package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/policy"
)

var update = flag.Bool("update", false, "rewrite the endings of the stories")

var storyNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// A story is a txtar file: prose, then what Git holds, a request, and how it
// ends.
//
//	-- commit 1111111 --          objects of a trusted commit, oldest first
//	-- commit 2222222 10m ago --  seen ten minutes ago; the default is an hour
//	-- commit 3333333 Unsigned -- a commit that is held back, by its outcome
//	-- unit --                    what made some of these objects, and what applies them
//	-- crd --                     a CustomResourceDefinition of the cluster
//	-- gate --                    namespaces, origins' namespaces, lag, action, author, rules
//	-- live --                    an object that is in the cluster, with its uid
//	-- owed --                    an object that break-glass is open for, and until when
//	-- policies --                what the Gate's policies find, or the error of asking
//	-- old --, -- object --       the two states; an API server's defaults are added
//	-- request --                 operation, subresource, user and so on
//	-- want --
type story struct {
	view     *View
	req      *Request
	ledger   Ledger
	policies *storyPolicies
}

// storyPolicies are policies that find what the story says, and keep what they
// are asked.
type storyPolicies struct {
	Findings []policy.Finding
	Error    string
	asked    *policy.Input
}

func (p *storyPolicies) Ask(_ context.Context, gate string, point policy.Point, input []byte) ([]policy.Finding, error) {
	if gate != "default" || point != policy.Admission {
		return nil, fmt.Errorf("asked for %s at %s", gate, point)
	}
	if strings.Contains(string(input), "hunter2") || strings.Contains(string(input), "aHVudGVyMg") {
		return nil, errors.New("the input tells a secret")
	}
	p.asked = &policy.Input{}
	d := json.NewDecoder(bytes.NewReader(input))
	d.DisallowUnknownFields()
	if err := d.Decode(p.asked); err != nil {
		return nil, err
	}
	if p.Error != "" {
		return nil, errors.New(p.Error)
	}
	return p.Findings, nil
}

// told is what the policies were told, in short.
func (p *storyPolicies) told() string {
	if p.asked == nil {
		return "asked: nothing\n"
	}
	in := p.asked
	var b strings.Builder
	fmt.Fprintf(&b, "asked: %s of %s %s/%s by %s, reason %q", in.Request.Operation, in.Request.Kind.Kind, in.Request.Namespace, in.Request.Name, in.Request.UserInfo.Username, in.Reason)
	if v := in.Provenance; v != nil {
		fmt.Fprintf(&b, ", from %.7s %s:%d by %s, %s, signed %v", v.Commit, v.Path, v.Line, v.Author.Email, v.Level, v.Signers)
	}
	if in.Derived != nil {
		fmt.Fprintf(&b, ", derived from %s %s", in.Derived.Kind, in.Derived.Name)
	}
	if in.Namespace != nil {
		fmt.Fprintf(&b, ", in a namespace with %v", in.Namespace.Labels)
	}
	for _, c := range in.Changes {
		fmt.Fprintf(&b, ", %s: %s", c.Reason, c.Path)
	}
	return b.String() + "\n"
}

type storyGate struct {
	Namespaces, OriginNamespaces []string
	Lag                          string
	Action                       string
	NoAuthor, DenyStale          bool
	Applier                      *gitindex.Applier
	Fetched                      string
	Exclude                      []Exclusion
	AllowFields                  []FieldRule
	Derive                       []DeriveRule
	AllowVerbs                   []VerbRule
	Holes                        []HoleRule
	BreakGlass                   *struct {
		Groups []string
		Max    string
		Reason *regexp.Regexp
	}
}

// storyUnit is what a story says of manifests: of all, or of the object and the
// commit that it names.
type storyUnit struct {
	Object, Commit       string // "Deployment shop/web", "8b1d44e"
	Nth                  int    // of the objects of one name in that commit; 0: each
	Unit                 string
	Level                gitindex.Level
	Applier              *gitindex.Applier
	Hook, Bare, Recreate bool
	Holes                []gitindex.Hole
	Live                 []string
	Owner                *gitindex.Ref
	NoLine               bool   // as of what a tool rendered
	Via                  string // the Origin that opened the unit
	Claimed              []string
	Unsure               bool // the unit cannot be rendered now
}

func (u *storyUnit) over(m *gitindex.Manifest, nth int) {
	if u.Object != "" && u.Object != m.Ref.String() || !strings.HasPrefix(m.Commit.ID, u.Commit) || u.Nth != 0 && u.Nth != nth {
		return
	}
	m.Unit, m.Level, m.Hook, m.Bare, m.Recreate, m.Holes, m.Live, m.Owner = u.Unit, u.Level, u.Hook, u.Bare, u.Recreate, u.Holes, u.Live, u.Owner
	if u.Applier != nil {
		m.Applier = u.Applier
	}
	m.Via, m.Claimed = u.Via, u.Claimed
	if u.NoLine {
		m.Line, m.End = 0, 0
	}
}

type storyRequest struct {
	Operation, SubResource, Resource, ResourceGroup, Kind, Group, Version, Namespace, Name, User, UID string
	Groups                                                                                            []string
	Extra                                                                                             map[string][]string
	DryRun, AsIs                                                                                      bool
}

// owed is a ledger with what a story puts into it.
type owed map[gitindex.Ref]Use

func (o owed) Note(Use) {}

func (o owed) Open(_ string, ref gitindex.Ref) (Use, bool) {
	u, ok := o[ref]
	return u, ok
}

func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.ToSlash(f[len("testdata/"):]), ".txtar"), func(t *testing.T) { tell(t, f) })
	}
}

func tell(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(data)
	s := readStory(t, a)
	g := &Gate{View: func() *View { return s.view }, Now: func() time.Time { return storyNow }, Ledger: s.ledger}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nothing live comes later here: there is nothing to wait for
	d := g.Decide(ctx, s.req)
	got := ending(ctx, g, s, &d)
	if d.Refusal != nil {
		lintMessage(t, d.Message(), d.ID)
	}
	for i := range a.Files {
		if a.Files[i].Name != "want" {
			continue
		}
		if want := string(a.Files[i].Data); want != got {
			if *update {
				a.Files[i].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%sends with\n%s\nwant\n%s", a.Comment, got, want)
		}
		return
	}
	t.Fatal("the story has no ending: add -- want -- and run with -update")
}

func ending(ctx context.Context, g *Gate, s *story, d *Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "allowed: %v\n", d.Allowed)
	if d.Reason != "" {
		fmt.Fprintf(&b, "reason: %s\n", d.Reason)
	}
	if d.Manifest != nil {
		fmt.Fprintf(&b, "traced: %v to %s\n", d.Traced, d.Manifest.Commit.Short())
	}
	if d.BreakGlass != nil {
		fmt.Fprintf(&b, "break-glass: %s, until %s\n", d.BreakGlass.Reason, d.BreakGlass.Until.Format(time.RFC3339))
	}
	if l := d.Level(); l != "" && l != gitindex.Exact {
		fmt.Fprintf(&b, "level: %s\n", l)
	}
	for _, r := range []Reason{ByServer, ByApplier, ByHole, ByLive, ByController, ByRule, Excluded} {
		if p := d.Reasons[r]; len(p) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", r, strings.Join(sortedKeys(set(p)), " "))
		}
	}
	for _, diff := range sortedDiffs(d.Drift) {
		fmt.Fprintf(&b, "drift: %s\n", diff.Path)
	}
	if stamps := g.Annotate(ctx, s.req); stamps != nil {
		for _, k := range sortedKeys(stamps) {
			fmt.Fprintf(&b, "stamp: %s=%s\n", k, stamps[k])
		}
	}
	if s.policies != nil {
		b.WriteString(s.policies.told())
	}
	for _, f := range d.Findings {
		fmt.Fprintf(&b, "finding: %s %s\n", f.Policy, f.Action)
	}
	for _, w := range d.Warnings() {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if d.Refusal != nil {
		fmt.Fprintf(&b, "refusal: %s transient=%v\n%s\n", d.Refusal.Kind, d.Refusal.Kind.Transient(), d.Message())
	}
	return b.String()
}

func set(list []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range list {
		m[s] = true
	}
	return m
}

// lintMessage holds what every refusal must keep.
func lintMessage(t *testing.T, m, id string) {
	t.Helper()
	first, _, _ := strings.Cut(m, "\n")
	if n := len([]rune(first)); n > 200 {
		t.Errorf("the first line has %d runes", n)
	}
	if n := len([]rune(m)); n > 1000 {
		t.Errorf("the message has %d runes", n)
	}
	if !strings.Contains(m, "\n  do    ") || !strings.HasSuffix(m, id) {
		t.Errorf("the message does not say what to do, or does not end with its id:\n%s", m)
	}
	if strings.Contains(m, "hunter2") || strings.Contains(m, "aHVudGVyMg") {
		t.Errorf("the message tells a secret:\n%s", m)
	}
}

func readStory(t *testing.T, a *txtar.Archive) *story {
	t.Helper()
	var crds [][]byte
	var config storyGate
	var sr storyRequest
	var object, old []byte
	live, ledger := newMemory(), owed{}
	var lives [][]byte
	var units []storyUnit
	var policies *storyPolicies
	for _, f := range a.Files {
		switch f.Name {
		case "crd":
			crds = append(crds, toJSON(t, f.Data))
		case "gate":
			strict(t, f.Data, &config)
		case "unit":
			var u storyUnit
			strict(t, f.Data, &u)
			units = append(units, u)
		case "request":
			strict(t, f.Data, &sr)
		case "object":
			object = toJSON(t, f.Data)
		case "old":
			old = toJSON(t, f.Data)
		case "release":
			object = releaseSecret(t, f.Data)
		case "old release":
			old = releaseSecret(t, f.Data)
		case "live":
			lives = append(lives, toJSON(t, f.Data))
		case "policies":
			policies = &storyPolicies{}
			strict(t, f.Data, policies)
		case "owed":
			var u Use
			strict(t, f.Data, &u)
			u.Gate, u.At, u.Since, u.Count = "default", storyNow.Add(-time.Minute), storyNow.Add(-time.Minute), 1
			ledger[u.Ref] = u
		}
	}
	schemas, errs := canonical.New(crds...)
	for _, err := range errs {
		t.Fatal(err)
	}
	for _, raw := range lives {
		o := liveOf(t, raw)
		if schemas.Known(o.Ref.Group, versionOf(o.APIVersion), o.Ref.Kind) {
			o.Template = liveOf(t, served(t, schemas, raw)).Template
		}
		live.byUID[o.UID], live.byRef[o.Ref] = o, o
	}
	if !sr.AsIs {
		object, old = served(t, schemas, object), served(t, schemas, old)
	}
	snap := storySnapshot(t, a, schemas, config.Applier, units)
	rule := Rule{Name: "default", Namespaces: config.Namespaces, ClusterScoped: len(config.Namespaces) == 0, Lag: 15 * time.Minute,
		Origins: []Source{{Origin: "platform", Namespaces: config.OriginNamespaces}}, Author: !config.NoAuthor, DenyStale: config.DenyStale, StaleAfter: 15 * time.Minute}
	if config.Lag != "" {
		rule.Lag = duration(t, config.Lag)
	}
	if config.Fetched != "" {
		snap.FetchedAt = storyNow.Add(-duration(t, config.Fetched))
	}
	rule.Exclude, rule.AllowFields, rule.Derive, rule.AllowVerbs, rule.Holes = config.Exclude, config.AllowFields, config.Derive, config.AllowVerbs, config.Holes
	if b := config.BreakGlass; b != nil {
		rule.BreakGlass = &BreakGlass{Groups: b.Groups, Max: duration(t, b.Max), Reason: b.Reason}
	}
	rule.Action = map[string]Action{"": Deny, "Deny": Deny, "Warn": Warn, "Audit": Audit}[config.Action]
	rule.Policed = policies != nil
	return &story{
		view: &View{Index: gitindex.Index{"platform": snap}, Schemas: schemas, Rules: []Rule{rule}, Live: live, Policies: policies},
		req:  storyReq(t, sr, object, old), ledger: ledger, policies: policies,
	}
}

func strict(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		t.Fatal(err)
	}
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func toJSON(t *testing.T, data []byte) []byte {
	t.Helper()
	out, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// served is an object as the API server would send it: with its defaults, and
// with the metadata that the story gives it.
func served(t *testing.T, schemas *canonical.Schemas, raw []byte) []byte {
	t.Helper()
	if raw == nil {
		return nil
	}
	v, err := decodeObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	_, version, ok := strings.Cut(text(v["apiVersion"]), "/")
	if !ok {
		version = text(v["apiVersion"])
	}
	out, err := schemas.Canonical(raw, version)
	if err != nil {
		t.Fatal(err)
	}
	full, _ := decodeObject(out)
	if mf := dig(v, "metadata", "managedFields"); mf != absent {
		full["metadata"].(map[string]any)["managedFields"] = mf
	}
	if uid := dig(v, "metadata", "uid"); uid != absent {
		full["metadata"].(map[string]any)["uid"] = uid
	}
	data, err := yaml.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	return toJSON(t, data)
}

func storyReq(t testing.TB, sr storyRequest, object, old []byte) *Request {
	t.Helper()
	req := &Request{UID: "story", Operation: Operation(sr.Operation), SubResource: sr.SubResource, Resource: sr.Resource, ResourceGroup: sr.ResourceGroup, DryRun: sr.DryRun,
		Object: object, OldObject: old, Group: sr.Group, Version: sr.Version, Kind: sr.Kind, Namespace: sr.Namespace, Name: sr.Name,
		User: User{Name: sr.User, UID: sr.UID, Groups: sr.Groups, Extra: sr.Extra}}
	if req.Operation == "" {
		req.Operation = Create
		if old != nil {
			req.Operation = Update
		}
	}
	about := object
	if about == nil {
		about = old
	}
	v, _ := decodeObject(about)
	if req.Kind == "" && v != nil {
		req.Kind = text(v["kind"])
		group, version, ok := strings.Cut(text(v["apiVersion"]), "/")
		if !ok {
			group, version = "", group
		}
		req.Group, req.Version = group, version
		req.Namespace, req.Name = text(dig(v, "metadata", "namespace")), text(dig(v, "metadata", "name"))
		if req.Kind == "Namespace" {
			req.Namespace = req.Name
		}
	}
	return req
}

// storySnapshot builds an Origin's snapshot from the story's commits.
func storySnapshot(t *testing.T, a *txtar.Archive, schemas *canonical.Schemas, applier *gitindex.Applier, units []storyUnit) *gitindex.Snapshot {
	t.Helper()
	snap := &gitindex.Snapshot{Origin: "platform", URL: "https://git.example.com/acme/platform.git", Ref: "main",
		FetchedAt: storyNow, Objects: map[gitindex.Ref]*gitindex.Entry{}}
	for _, f := range a.Files {
		words := strings.Fields(f.Name)
		if len(words) == 0 || words[0] != "commit" {
			continue
		}
		c := &gitindex.Commit{ID: words[1] + strings.Repeat("0", 40-len(words[1])), Subject: "a change",
			Author:  gitindex.Person{Name: "Ada Lovelace", Email: "ada@acme.dev"},
			Verdict: gitindex.Verdict{Outcome: gitindex.Good, Signer: gitindex.Signer{Kind: "ssh", Fingerprint: "SHA256:9uKx", Principal: "ada@acme.dev"}}}
		seen := storyNow.Add(-time.Hour)
		if n := len(words); n >= 4 && words[n-1] == "ago" {
			seen = storyNow.Add(-duration(t, words[n-2]))
			words = words[:n-2]
		}
		if len(words) > 2 {
			c.Author = gitindex.Person{Name: "Mallory", Email: "m@evil.example"}
			c.Verdict = gitindex.Verdict{Outcome: outcome(t, words[2]), Detail: "a detail", Signer: gitindex.Signer{Kind: "ssh", Fingerprint: "SHA256:Zk1"}}
		} else {
			snap.Accepted = c
		}
		addCommit(t, snap, schemas, c, f.Data, seen, applier, units)
	}
	return snap.Seal()
}

// namelessHook is a hook that has generateName alone, which only Argo CD's units
// can hold; nil for anything else.
func namelessHook(t *testing.T, data []byte) *render.Object {
	t.Helper()
	if !bytes.Contains(data, []byte("generateName:")) {
		return nil
	}
	raw := toJSON(t, data)
	v, err := decodeObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	group, version := groupOf(text(v["apiVersion"])), versionOf(text(v["apiVersion"]))
	return &render.Object{Group: group, Version: version, Kind: text(v["kind"]), Namespace: text(dig(v, "metadata", "namespace")),
		GenerateName: text(dig(v, "metadata", "generateName")), JSON: raw, Line: 1, End: 1}
}

func outcome(t *testing.T, name string) gitindex.Outcome {
	t.Helper()
	for o := gitindex.NotChecked; o <= gitindex.Sealed; o++ {
		if o.String() == name {
			return o
		}
	}
	t.Fatalf("no outcome %s", name)
	return 0
}

func addCommit(t *testing.T, snap *gitindex.Snapshot, schemas *canonical.Schemas, c *gitindex.Commit, data []byte, seen time.Time, applier *gitindex.Applier, units []storyUnit) {
	t.Helper()
	if bytes.HasPrefix(data, []byte("removes ")) {
		for ref, e := range snap.Objects {
			if ref.Name != strings.TrimSpace(string(data[len("removes "):])) {
				continue
			}
			if !c.Verdict.Outcome.Trusted() {
				e.HeldRemoval = c
				continue
			}
			for _, m := range e.Current {
				e.Past = append([]gitindex.Past{{Manifest: m, By: c, At: seen}}, e.Past...)
			}
			e.Current = nil
		}
		return
	}
	objects, problems := render.File("clusters/prod/web.yaml", data, render.Limits{})
	if hook := namelessHook(t, data); hook != nil {
		objects, problems = []render.Object{*hook}, nil
	}
	for _, p := range problems {
		t.Fatal(p)
	}
	seenHere := map[gitindex.Ref]int{}
	for _, o := range objects {
		m := &gitindex.Manifest{Ref: gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name},
			APIVersion: apiVersion(o.Group, o.Version), Origin: "platform", Path: "clusters/prod/web.yaml", Line: o.Line, End: o.End,
			Raw: o.JSON, Commit: c, Applier: applier}
		seenHere[m.Ref]++
		for i := range units {
			units[i].over(m, seenHere[m.Ref])
		}
		canonical, err := schemas.Canonical(o.JSON, o.Version)
		if err != nil {
			m.CanonicalError = err.Error()
		}
		m.Canonical = canonical
		e := snap.Objects[m.Ref]
		if e == nil {
			e = &gitindex.Entry{}
			snap.Objects[m.Ref] = e
		}
		if slices.ContainsFunc(units, func(u storyUnit) bool { return u.Unsure }) {
			e.Unsure = append(e.Unsure, m)
			continue
		}
		if !c.Verdict.Outcome.Trusted() {
			e.Held = append(e.Held, m)
			continue
		}
		for _, old := range e.Current {
			if old.Commit != c {
				e.Past = append([]gitindex.Past{{Manifest: old, By: c, At: seen}}, e.Past...)
			}
		}
		if len(e.Current) > 0 && e.Current[0].Commit == c {
			e.Current = append(e.Current, m)
		} else {
			e.Current = []*gitindex.Manifest{m}
		}
	}
}

package gate

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// Refusal says why a request is refused, where that stands in Git, and what to
// do next.
type Refusal struct {
	Kind  Refused
	Was   Refused // what it would be if Git were not being fetched right now
	Head  string  // one complete line
	Facts []string
	Do    string
	// Diffs are the differences behind a Differs refusal.
	Diffs []Difference
}

const (
	maxHead    = 190
	maxMessage = 1000
)

// Message is the text the person sees: a complete first line, the facts, what
// to do, and the decision's id.
func (d *Decision) Message() string {
	if d.Refusal == nil {
		return ""
	}
	r := d.Refusal
	tail := "\n  do    " + r.Do
	if r.Kind.Transient() {
		tail = "\n  do    wait: this heals by itself, the client tries again · " + r.Do
	}
	tail += "\n  decision " + d.ID
	var b strings.Builder
	b.WriteString(cutRunes(r.Head, maxHead))
	for _, f := range r.Facts {
		line := "\n    " + f
		if runes(b.String())+runes(line)+runes(tail) > maxMessage {
			break
		}
		b.WriteString(line)
	}
	return cutRunes(b.String(), maxMessage-min(runes(tail), maxMessage/2)) + cutRunes(tail, maxMessage/2)
}

func runes(s string) int { return len([]rune(s)) }

func cutRunes(s string, max int) string {
	if r := []rune(s); len(r) > max {
		return string(r[:max-1]) + "…"
	}
	return s
}

// decisionID is a short name for a decision, made from the request's own uid.
func decisionID(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return "d-" + base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").EncodeToString(sum[:5])
}

func noRule(req *Request) *Refusal {
	r := &Refusal{Kind: NoRule,
		Head: fmt.Sprintf("%s of %s has no rule yet, and what has no rule is refused", strings.ToLower(string(req.Operation)), req.What()),
		Do:   "do it through Git, or have an administrator narrow the Gate's match"}
	if req.SubResource != "" {
		r.Do = "do it through Git, or have an administrator add " + req.resource() + "/" + req.SubResource + " to the Gate's allowVerbs"
	}
	return r
}

func verbNotAllowed(req *Request) *Refusal {
	r := &Refusal{Kind: VerbNotAllowed,
		Head: fmt.Sprintf("%s of %s is not allowed: no file in Git can say it", strings.ToLower(string(req.Operation)), req.What()),
		Do:   "have an administrator add " + req.resource() + "/" + req.SubResource + " to the Gate's allowVerbs"}
	if req.Resource == "pods" {
		r.Do += ", or break the glass on the Pod"
	}
	return r
}

func notTheController(req *Request, owner Owner) *Refusal {
	return &Refusal{Kind: NotDerived,
		Head:  fmt.Sprintf("%s names %s %s as its owner, but %s is not the controller that makes such objects", req.What(), gitindex.Clean(owner.Kind, 60), gitindex.Clean(owner.Name, 60), gitindex.Clean(req.User.Name, 60)),
		Facts: []string{"an ownerReference proves nothing: anybody can write one"},
		Do:    "commit the object to Git; for an operator, have an administrator name it in the Gate's derive"}
}

func ownerUnknown(req *Request, owner Owner) *Refusal {
	return &Refusal{Kind: OwnerUnknown,
		Head: fmt.Sprintf("%s names an owner that is not known here: %s %s, uid %s", req.What(), gitindex.Clean(owner.Kind, 60), gitindex.Clean(owner.Name, 60), gitindex.Clean(owner.UID, 36)),
		Do:   "if it stays, the owner is gone"}
}

func rootless(req *Request, why string) *Refusal {
	return &Refusal{Kind: NotDerived, Head: cutRunes(req.What()+" is derived from nothing in Git", maxHead), Facts: []string{why},
		Do: "commit the owner to Git, or delete it"}
}

func notYielded(ref gitindex.Ref, owner *LiveObject, diffs []Difference, err error) *Refusal {
	r := &Refusal{Kind: NotDerived, Diffs: diffs, Do: "change the owner in Git: its controller makes the rest"}
	if err != nil {
		r.Head = fmt.Sprintf("%s cannot be held against %s: %s", clean(ref), clean(owner.Ref), gitindex.Clean(err.Error(), 100))
		return r
	}
	r.Head = fmt.Sprintf("%s is not what %s makes: %s", gitindex.Clean(ref.String(), 70), gitindex.Clean(owner.Ref.String(), 70), gitindex.Clean(diffs[0].Path, 90))
	for _, d := range diffs[:min(len(diffs), 3)] {
		want, have := shown(ref, d)
		r.Facts = append(r.Facts, fmt.Sprintf("%s   owner %s, you %s", gitindex.Clean(d.Path, 90), want, have))
	}
	return r
}

func derivedOnly(req *Request, owner Owner, diffs []Difference) *Refusal {
	r := &Refusal{Kind: DerivedOnly, Diffs: diffs,
		Head: fmt.Sprintf("%s is made by the controller of %s %s, and changed by it alone: %s", gitindex.Clean(req.What(), 70), gitindex.Clean(owner.Kind, 40), gitindex.Clean(owner.Name, 60), gitindex.Clean(diffs[0].Path, 60)),
		Do:   "change " + gitindex.Clean(owner.Kind, 40) + " " + gitindex.Clean(owner.Name, 60) + " in Git"}
	return r
}

func ownDeletion(ref gitindex.Ref) *Refusal {
	return &Refusal{Kind: StillInGit,
		Head:  fmt.Sprintf("%s cannot be deleted by hand: Gitward decides by it", clean(ref)),
		Facts: []string{"Git never declared it, so that its absence there says nothing"},
		Do:    "commit it to Git and remove it there, or break the glass on it"}
}

func originNotReady(req *Request, origin string, s *gitindex.Snapshot) *Refusal {
	r := &Refusal{Kind: OriginNotReady,
		Head: fmt.Sprintf("%s cannot be decided yet: Origin %s has no accepted revision", req.What(), origin),
		Do:   "kubectl get origin " + origin + " says what is missing"}
	if s != nil && s.Frozen != "" {
		r.Facts = append(r.Facts, gitindex.Clean(s.Frozen, 200))
	}
	return r
}

func originStale(req *Request, s *gitindex.Snapshot, age time.Duration) *Refusal {
	return &Refusal{Kind: OriginStale,
		Head:  fmt.Sprintf("%s cannot be decided now: Origin %s was last read %s ago", req.What(), s.Origin, age.Round(time.Second)),
		Facts: []string{"its Gate has onStale: Deny"},
		Do:    "kubectl get origin " + s.Origin + " says why Git is out of reach"}
}

func stillInGit(ref gitindex.Ref, m *gitindex.Manifest, e *gitindex.Entry) *Refusal {
	r := &Refusal{Kind: StillInGit,
		Head: fmt.Sprintf("%s is still in Git (%s) and cannot be deleted here", gitindex.Clean(ref.String(), 100), m.Place()),
		Do:   "remove it in Git; the applier will delete it"}
	r.Facts = append(r.Facts, madeBy(m)...)
	if c := e.HeldRemoval; c != nil {
		r.Facts = append(r.Facts, fmt.Sprintf("commit %s removes it, but does not count: %s", c.Short(), held(c)))
	}
	return r
}

// perhapsInGit refuses while nobody knows whether Git still has the object.
func perhapsInGit(ref gitindex.Ref, m *gitindex.Manifest) *Refusal {
	return &Refusal{Kind: StillInGit,
		Head:  fmt.Sprintf("%s may still be in Git (%s): %s cannot be rendered now", gitindex.Clean(ref.String(), 100), m.Place(), gitindex.Clean(m.Unit, 150)),
		Facts: []string{"kubectl get origin " + m.Origin + " -o yaml says why, under status.problems"},
		Do:    "mend the unit in Git; if the object is gone from it then, it can be deleted"}
}

func namespaceInUse(ref gitindex.Ref, s *gitindex.Snapshot, n int) *Refusal {
	return &Refusal{Kind: StillInGit,
		Head: fmt.Sprintf("Namespace %s cannot be deleted here: Git (%s) still declares %d objects in it", gitindex.Clean(ref.Name, 63), s.Origin, n),
		Do:   "remove them in Git first"}
}

func kindInUse(ref gitindex.Ref, s *gitindex.Snapshot, n int) *Refusal {
	return &Refusal{Kind: StillInGit,
		Head: fmt.Sprintf("%s cannot be deleted here: Git (%s) still declares %d objects of its kind", gitindex.Clean(ref.String(), 120), s.Origin, n),
		Do:   "remove them in Git first"}
}

func metadataThroughStatus(req *Request, s *subject) *Refusal {
	return &Refusal{Kind: Differs,
		Head:  fmt.Sprintf("%s: a write to its status must not change its metadata", req.What()),
		Facts: []string{"changed: " + strings.Join(changedFields(at(s.old, "metadata"), at(s.new, "metadata")), ", ")},
		Do:    "change metadata in Git"}
}

func changedFields(old, new any) []string {
	seen := map[string]any{}
	for _, side := range []any{old, new} {
		if m, ok := side.(map[string]any); ok {
			for k := range m {
				if !equal(at(old, k), at(new, k)) {
					seen["metadata."+gitindex.Clean(k, 60)] = nil
				}
			}
		}
	}
	return sortedKeys(seen)
}

func badStamp(req *Request, key string, why Refused) *Refusal {
	key = gitindex.Clean(key, 80)
	if why == StaleStamp {
		return &Refusal{Kind: why,
			Head: fmt.Sprintf("%s carries an outdated %s, which annotate.gitward.dev should have renewed", req.What(), key),
			Do:   "see that the mutating webhook annotate.gitward.dev is installed and reachable"}
	}
	return &Refusal{Kind: why,
		Head: fmt.Sprintf("%s carries a %s annotation that Gitward did not write", req.What(), key),
		Do:   "leave the gitward.dev/ annotations out: Gitward writes them itself"}
}

// refuseCandidate says why a manifest that fits does not count.
func (t *tracing) refuseCandidate(c *candidate) *Refusal {
	m := c.manifest
	name := gitindex.Clean(m.Ref.String(), 100)
	by := fmt.Sprintf("%s comes from commit %s by %s", name, m.Commit.Short(), gitindex.Clean(m.Commit.Author.String(), 60))
	r := &Refusal{Kind: c.refused, Facts: append([]string{"Git   " + m.Place()}, madeBy(m)...)}
	switch c.refused {
	case Outdated:
		r.Head = fmt.Sprintf("%s in Git is at %s; you apply the state of %s", name, c.past.By.Short(), m.Commit.Short())
		r.Facts = append(r.Facts, fmt.Sprintf("superseded %s ago by %s (lag %s)",
			t.now.Sub(c.past.At).Round(time.Second), c.past.By.Short(), t.rule.Lag))
		r.Do = "to roll back: git revert " + c.past.By.Short() + ", so that the rollback is in Git too"
	case WrongNamespace:
		origin := m.Origin
		if m.Via != "" && t.fills(m.Origin, m.Ref) {
			origin = m.Via
			r.Head = fmt.Sprintf("%s is rendered by an object of Origin %s, which may not fill this place", name, origin)
		} else {
			r.Head = fmt.Sprintf("%s is in Origin %s, which may not fill this place", name, origin)
		}
		r.Do = "have an administrator accept Origin " + origin + " there, in Gate " + t.rule.Name
		if names := t.originNames(m.Ref); names != "" {
			r.Do = "move it to one of: " + names + "; or " + r.Do
		}
	case Unsigned:
		r.Head = by + ", which is not signed"
		r.Do = "sign and amend: git config commit.gpgsign true && git commit --amend -S · or merge through a trusted signer"
	case UnknownSigner:
		r.Head = by + ", signed by a key that is not trusted here"
		r.Facts = append(r.Facts, "key   "+m.Commit.Verdict.Signer.String())
		r.Do = "ask the owner of Origin " + m.Origin + " to add the key, or sign with a key that is trusted"
	case SignerExpired:
		r.Head = by + ", signed by a trusted key outside its validity"
		r.Do = "renew the key in the signers of Origin " + m.Origin + ", or sign anew"
	case SignerRevoked:
		r.Head = by + ", signed by a key that is revoked"
		r.Do = "sign anew with a key that is trusted"
	case SignerNotValid:
		r.Head = by + ", signed by a trusted key in a way that is not accepted"
		r.Do = "sign anew: the detail above says what is wanted"
	case BadSignature:
		r.Head = by + ", whose signature does not fit the commit"
		r.Do = "sign the commit again, and find out who altered it"
	case Malformed:
		r.Head = by + ", which is not in order: Git and others would read it differently"
		r.Do = "make the change again in a new commit, with Git itself"
	default:
		r.Kind = NotChecked
		r.Head = by + ", whose signature was not checked"
		r.Do = "give Origin " + m.Origin + " its signers"
	}
	switch c.refused {
	case Outdated, WrongNamespace, Unsigned, UnknownSigner: // the first line says it all
	default:
		if detail := m.Commit.Verdict.Detail; detail != "" {
			r.Facts = append(r.Facts, "why   "+gitindex.Clean(detail, 160))
		}
	}
	return r
}

func held(c *gitindex.Commit) string {
	switch c.Verdict.Outcome {
	case gitindex.Unsigned:
		return "it is not signed"
	case gitindex.UnknownSigner:
		return "its signer is not trusted here"
	}
	return gitindex.Clean(c.Verdict.Detail, 120)
}

// unsure is the latest that Git is known to have said of the object, where its
// unit cannot be rendered now.
func (t *tracing) unsure(ref gitindex.Ref) *gitindex.Manifest {
	for i := range t.rule.Origins {
		source := &t.rule.Origins[i]
		if m := t.perhaps(source, t.view.Index[source.Origin].Lookup(ref), ref); m != nil {
			return m
		}
	}
	return nil
}

func notRendered(ref gitindex.Ref, m *gitindex.Manifest) *Refusal {
	return &Refusal{Kind: NotInGit,
		Head:  fmt.Sprintf("%s cannot be traced to Git: %s cannot be rendered now", gitindex.Clean(ref.String(), 90), gitindex.Clean(m.Unit, 150)),
		Facts: []string{"kubectl get origin " + m.Origin + " -o yaml says why, under status.problems"},
		Do:    "mend the unit in Git"}
}

// refuseUnknown: no commit, trusted or not, declares the object.
func (t *tracing) refuseUnknown(ref gitindex.Ref) *Refusal {
	where := "the cluster"
	if ref.Namespace != "" {
		where = fmt.Sprintf("%q", gitindex.Clean(ref.Namespace, 63))
	}
	names := t.originNames(ref)
	if names == "" {
		names = "no Origin; its Gate accepts none there"
	}
	if m := t.unsure(ref); m != nil {
		return notRendered(ref, m)
	}
	r := &Refusal{Kind: NotInGit,
		Head: fmt.Sprintf("%s is not in Git. Objects in %s must come from: %s", gitindex.Clean(ref.String(), 90), where, names),
		Do:   "commit it to one of these repositories, or remove it"}
	for i := range t.rule.Origins {
		if m := t.view.Index[t.rule.Origins[i].Origin].Near(ref); m != nil {
			r.Facts = append(r.Facts, fmt.Sprintf("near  %s has %s: a typo?", m.Place(), gitindex.Clean(m.Ref.String(), 90)))
			break
		}
	}
	return r
}

// refuseDifferent names what differs from the closest manifest.
func (t *tracing) refuseDifferent(s *subject, f *finding) *Refusal {
	if errors.Is(f.err, canonical.ErrUnknownKind) {
		return &Refusal{Kind: SchemaUnknown,
			Head:  fmt.Sprintf("%s cannot be compared with Git yet: the schema of %s is not known", gitindex.Clean(s.ref.String(), 90), gitindex.Clean(s.ref.GroupKind(), 90)),
			Facts: []string{"Git   " + f.manifest.Place()},
			Do:    "see that its CustomResourceDefinition is installed"}
	}
	if f.err != nil {
		return &Refusal{Kind: NotComparable,
			Head:  fmt.Sprintf("%s cannot be compared with Git: %s", gitindex.Clean(s.ref.String(), 90), gitindex.Clean(f.err.Error(), 120)),
			Facts: []string{"Git   " + f.manifest.Place()},
			Do:    "bring the file to the API version in use: " + s.apiVersion}
	}
	diffs := f.comparison.violations
	if len(diffs) == 0 { // a superseded manifest that does not fit as a whole
		diffs = f.comparison.drift
	}
	return t.differs(s.ref, f.manifest, diffs)
}

func (t *tracing) differs(ref gitindex.Ref, m *gitindex.Manifest, diffs []Difference) *Refusal {
	diffs = sortedDiffs(diffs)
	d := diffs[0]
	head := fmt.Sprintf("%s differs from Git: %s", gitindex.Clean(ref.String(), 90), gitindex.Clean(d.Path, 90))
	if len(diffs) > 1 {
		head += fmt.Sprintf(" and %d more", len(diffs)-1)
	}
	git, you := shown(ref, d)
	label := "Git (" + m.Place() + ")"
	r := &Refusal{Kind: Differs, Head: head, Diffs: diffs, Facts: []string{
		label + "   " + git,
		"you" + strings.Repeat(" ", runes(label)) + you, // under each other, so that the eye can compare
	}}
	r.Facts = append(r.Facts, madeBy(m)...)
	for _, more := range diffs[1:min(len(diffs), 4)] {
		git, you := shown(ref, more)
		r.Facts = append(r.Facts, fmt.Sprintf("%s   Git %s, you %s", gitindex.Clean(more.Path, 90), git, you))
	}
	r.Do = "change it in Git: " + t.fileURL(m)
	return r
}

// madeBy names the unit that a manifest was rendered from, for people.
func madeBy(m *gitindex.Manifest) []string {
	if m.Unit == "" {
		return nil
	}
	return []string{"made by " + gitindex.Clean(m.Unit, 120)}
}

// fileURL is where a person can edit the manifest's file: a link where the
// forge is known, else the repository and the path.
func (t *tracing) fileURL(m *gitindex.Manifest) string {
	s := t.view.Index[m.Origin]
	url, path := strings.TrimSuffix(s.URL, ".git"), gitindex.Clean(m.Path, 200)
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	anchor, line := "", ""
	if m.Line > 0 {
		anchor, line = fmt.Sprintf("#L%d", m.Line), fmt.Sprintf(" line %d", m.Line)
	}
	switch {
	case path == "":
		return gitindex.Clean(s.URL, 150)
	case !strings.HasPrefix(url, "https://") || strings.ContainsAny(path, " %?#"):
	case strings.Contains(host, "github"):
		return url + "/edit/" + s.Ref + "/" + path + anchor
	case strings.Contains(host, "gitlab"):
		return url + "/-/edit/" + s.Ref + "/" + path + anchor
	}
	return gitindex.Clean(s.URL, 150) + ", " + path + line
}

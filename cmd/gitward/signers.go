package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/controller"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/signature"
)

func signersCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "signers",
		Short: "List the keys that count, or say whether one commit does",
	}
	c.AddCommand(signersListCommand(), signersVerifyCommand())
	return c
}

func signersListCommand() *cobra.Command {
	s, output := source{}, "table"
	c := &cobra.Command{
		Use:   "list",
		Short: "List the keys whose signatures count, by Origin",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			con := newConsole(cmd)
			result, err := s.listSigners(cmd.Context())
			if err != nil {
				return err
			}
			if output != "table" {
				return con.structured(output, result)
			}
			result.print(con)
			return nil
		},
	}
	s.flags(c.Flags())
	c.Flags().StringVarP(&output, "output", "o", output, outputs)
	return c
}

// signersResult is what signers list -o json prints.
type signersResult struct {
	document
	Items []keyItem `json:"items"`
}

type keyItem struct {
	Origin      string     `json:"origin"`
	Kind        string     `json:"kind"`
	Fingerprint string     `json:"fingerprint"`
	Principals  []string   `json:"principals"`
	State       string     `json:"state"` // valid, expired, not yet valid, revoked
	ValidAfter  *time.Time `json:"validAfter,omitempty"`
	ValidBefore *time.Time `json:"validBefore,omitempty"`
	Authority   bool       `json:"certAuthority,omitempty"`
}

const (
	keyValid     = "valid"
	keyExpired   = "expired"
	keyNotYet    = "not yet valid"
	keyIsRevoked = "revoked"
)

func (s *source) listSigners(ctx context.Context) (*signersResult, error) {
	l := &loaded{}
	if err := s.read(ctx, l); err != nil {
		return nil, err
	}
	l.process = newQuietProcess("")
	result := &signersResult{document: documentOf("SignerList"), Items: []keyItem{}}
	for i := range l.configuration.origins {
		o := &l.configuration.origins[i]
		settings, err := s.settings(l, o)
		if err != nil {
			return nil, err
		}
		result.Items = append(result.Items, keysOf(o.Name, settings.Keyring, time.Now())...)
	}
	return result, nil
}

func keysOf(origin string, ring *signature.Keyring, now time.Time) []keyItem {
	var out []keyItem
	for _, k := range ring.Signers() {
		item := keyItem{Origin: origin, Kind: k.Kind, Fingerprint: k.Fingerprint, State: keyState(&k, now), Authority: k.CertAuthority, Principals: []string{}}
		for _, p := range k.Principals {
			item.Principals = append(item.Principals, gitindex.Clean(p, 160))
		}
		if !k.ValidAfter.IsZero() {
			at := k.ValidAfter.UTC()
			item.ValidAfter = &at
		}
		if !k.ValidBefore.IsZero() {
			at := k.ValidBefore.UTC()
			item.ValidBefore = &at
		}
		out = append(out, item)
	}
	return out
}

func keyState(k *signature.Key, now time.Time) string {
	switch {
	case k.Revoked:
		return keyIsRevoked
	case !k.ValidBefore.IsZero() && now.After(k.ValidBefore):
		return keyExpired
	case !k.ValidAfter.IsZero() && now.Before(k.ValidAfter):
		return keyNotYet
	}
	return keyValid
}

func (r *signersResult) print(con *console) {
	var rows [][]cell
	for _, k := range r.Items {
		state := con.marked(markBad, k.State)
		if k.State == keyValid {
			state = con.marked(markGood, k.State)
		}
		who := strings.Join(k.Principals, ", ")
		if k.Authority {
			who += " (certificate authority)"
		}
		rows = append(rows, []cell{plain(k.Origin), plain(k.Kind + ":" + k.Fingerprint), state, plain(validity(&k)), plain(strings.TrimSpace(who))})
	}
	con.table("ORIGIN KEY STATE VALID PRINCIPALS", rows)
}

func validity(k *keyItem) string {
	const day = "2006-01-02"
	switch {
	case k.ValidAfter != nil && k.ValidBefore != nil:
		return k.ValidAfter.Format(day) + " to " + k.ValidBefore.Format(day)
	case k.ValidAfter != nil:
		return "since " + k.ValidAfter.Format(day)
	case k.ValidBefore != nil:
		return "until " + k.ValidBefore.Format(day)
	}
	return "always"
}

type verifyOptions struct {
	source
	repo, only, output string
}

func signersVerifyCommand() *cobra.Command {
	o := verifyOptions{}
	c := &cobra.Command{
		Use:   "verify COMMIT",
		Short: "Say exactly why a commit counts, or does not",
		Long: `Say exactly why a commit counts, or does not: its signature, its signer, and
whether it is on the history that an Origin follows.

COMMIT is an id, whole or abbreviated, or HEAD. It is looked for in the
Origin's repository, or in the one that --repo names.

Exit codes: 0 it counts, 1 it does not, 2 could not tell.`,
		Example: `  gitward signers verify 8c1e002 --config gitward/
  gitward signers verify HEAD --repo . --config gitward/`,
		Args: exactlyOneArg("COMMIT, an id or HEAD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return verifyCommit(cmd, &o, args[0])
		},
	}
	f := c.Flags()
	o.source.flags(f)
	f.StringVar(&o.repo, "repo", "", "repository on this machine, in place of the Origin's")
	f.StringVar(&o.only, "origin", "", "the Origin whose signers count; default: each")
	f.StringVarP(&o.output, "output", "o", "table", outputs)
	return c
}

// verifyResult is what signers verify -o json prints.
type verifyResult struct {
	document
	Items []verifiedItem `json:"items"`
}

// verifiedItem is what one Origin makes of the commit.
type verifiedItem struct {
	Origin  string     `json:"origin"`
	Require string     `json:"require"`
	Counts  bool       `json:"counts"`
	Why     string     `json:"why"`
	Commit  commitItem `json:"commit"`
	// AtItsDate is what would be said by whoever saw the commit when it claims
	// to have been made, where that is something else.
	AtItsDate string `json:"atItsDate,omitempty"`
}

func verifyCommit(cmd *cobra.Command, o *verifyOptions, commit string) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	con := newConsole(cmd)
	result, err := o.verify(cmd.Context(), con, commit)
	if err != nil {
		return err
	}
	if o.output == "table" {
		result.print(con)
	} else if err := con.structured(o.output, result); err != nil {
		return err
	}
	if !slices.ContainsFunc(result.Items, func(i verifiedItem) bool { return i.Counts }) {
		return errFound
	}
	return nil
}

func (o *verifyOptions) verify(ctx context.Context, con *console, commit string) (*verifyResult, error) {
	l := &loaded{}
	if err := o.read(ctx, l); err != nil {
		return nil, err
	}
	if err := o.prepare(ctx, l, con); err != nil {
		return nil, err
	}
	defer l.stop()
	result := &verifyResult{document: documentOf("VerifyResult")}
	var last error
	for i := range l.configuration.origins {
		origin := &l.configuration.origins[i]
		if o.only != "" && o.only != origin.Name {
			continue
		}
		item, err := o.verifyIn(ctx, l, origin, commit)
		if errors.Is(err, errNoCommit) {
			last = err
			continue
		}
		if err != nil {
			return nil, err
		}
		result.Items = append(result.Items, *item)
	}
	switch {
	case len(result.Items) > 0:
		return result, nil
	case last != nil:
		return nil, last
	}
	return nil, fmt.Errorf("there is no Origin %s", o.only)
}

// errNoCommit: the repository does not have the commit, as far as its ref
// reaches.
var errNoCommit = errors.New("there is no such commit")

func (o *verifyOptions) verifyIn(ctx context.Context, l *loaded, origin *v1alpha1.Origin, commit string) (*verifiedItem, error) {
	settings, err := o.settings(l, origin)
	if err != nil {
		return nil, err
	}
	dir, remote := filepath.Join(settings.Dir, "repository"), remoteOf(&settings)
	if o.repo != "" {
		if dir, err = os.MkdirTemp("", "gitward-repository-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		remote = gitrepo.Remote{URL: o.repo, AllowLocal: true}
		if fullID.MatchString(commit) {
			remote.Ref.Commit = commit
		}
	}
	repo, err := gitrepo.Open(dir, remote, gitrepo.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("opening the repository of Origin %s: %w", origin.Name, err)
	}
	defer repo.Close()
	tip, err := repo.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	h, err := readHistory(ctx, repo, tip, commit)
	if err != nil {
		return nil, fmt.Errorf("looking for %s behind %v: %w", gitindex.Clean(commit, 60), remote, err)
	}
	return judgeCommit(&settings, h), nil
}

var fullID = regexp.MustCompile(`^[0-9a-f]{40}$`)

func remoteOf(s *controller.Settings) gitrepo.Remote {
	r := gitrepo.Remote{URL: s.Spec.URL, Credentials: s.Credentials, AllowLocal: s.AllowLocal, Timeout: s.Timeout}
	if ref := s.Spec.Ref; ref != nil {
		r.Ref = gitrepo.Ref{Branch: ref.Branch, Tag: ref.Tag, SemVer: ref.SemVer, Name: ref.Name, Commit: ref.Commit}
	}
	return r
}

// history is what stands behind a tip, and one commit in it.
type history struct {
	id      string
	raw     []byte
	mainly  []string // the first-parent history, newest first
	parents map[string]string
}

// readHistory finds a commit behind the tip, by its id or the beginning of it.
func readHistory(ctx context.Context, repo *gitrepo.Repo, tip, wanted string) (*history, error) {
	if wanted == "HEAD" {
		wanted = tip
	}
	if len(wanted) < 4 || strings.Trim(wanted, "0123456789abcdef") != "" {
		return nil, errors.New("want at least four hex digits of its id, in lower case, or HEAD")
	}
	h := &history{parents: map[string]string{}}
	err := repo.Reachable(ctx, tip, "", func(id string, raw []byte) error {
		if c, err := object.ParseCommit(raw); err == nil && len(c.Parents) > 0 {
			h.parents[id] = c.Parents[0]
		}
		if !strings.HasPrefix(id, wanted) {
			return nil
		}
		if h.id != "" {
			return errors.New("several commits begin with that: give more digits")
		}
		h.id, h.raw = id, slices.Clone(raw)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if h.id == "" {
		return nil, errNoCommit
	}
	for id := tip; id != ""; id = h.parents[id] {
		h.mainly = append(h.mainly, id)
	}
	return h, nil
}

// judgeCommit says what an Origin makes of a commit that it sees now for the
// first time.
func judgeCommit(s *controller.Settings, h *history) *verifiedItem {
	c := gitindex.Commit{ID: h.id}
	if parsed, err := object.ParseCommit(h.raw); err == nil {
		c.Author, c.Subject = parsed.Author, parsed.Subject()
	}
	c.Verdict = s.Keyring.Verify(h.raw, s.Now())
	item := &verifiedItem{Origin: s.Name, Require: string(s.Spec.Signers.Require)}
	if then := s.Keyring.Verify(h.raw, time.Time{}); then.Outcome != c.Verdict.Outcome {
		item.AtItsDate = then.Outcome.String()
	}
	place, anchor := slices.Index(h.mainly, h.id), slices.Index(h.mainly, s.Spec.Signers.After)
	if anchor >= 0 && place >= anchor {
		c.Verdict.Outcome, c.Verdict.Detail = gitindex.Sealed, ""
	}
	item.Counts, item.Why = counts(c.Verdict.Outcome, place >= 0)
	item.Commit = commitOf(&c)
	return item
}

// counts says whether a commit may declare objects, in a sentence that no two
// cases share.
func counts(o gitindex.Outcome, mainly bool) (bool, string) {
	if o.Trusted() && !mainly {
		return false, "it is trusted, but not on the first-parent history: what it brings counts through the merge that took it in"
	}
	switch o {
	case gitindex.Good:
		return true, "it is signed by a trusted key that is valid"
	case gitindex.Sealed:
		return true, "it lies at or before signers.after, where history is accepted as it is"
	case gitindex.Unsigned:
		return false, "it is not signed"
	case gitindex.UnknownSigner:
		return false, "it is signed by a key that is not trusted here"
	case gitindex.SignerExpired:
		return false, "it is signed by a trusted key outside its validity"
	case gitindex.SignerRevoked:
		return false, "it is signed by a key that is revoked"
	case gitindex.SignerNotValid:
		return false, "it is signed by a trusted key in a way that is not accepted"
	case gitindex.BadSignature:
		return false, "its signature does not fit it"
	case gitindex.Malformed:
		return false, "the commit itself is malformed"
	}
	return false, "it was not checked: no signers are configured"
}

func (r *verifyResult) print(con *console) {
	for i := range r.Items {
		item := &r.Items[i]
		said := con.marked(markBad, "does not count: "+item.Why)
		if item.Counts {
			said = con.marked(markGood, "counts: "+item.Why)
		}
		con.columns([][]cell{{{text: "commit " + gitindex.Short(item.Commit.ID)}, said}}, 2)
		lines := []branch{{cells: []cell{{text: "origin"}, {text: item.Origin + " (require " + item.Require + ")"}}}}
		for _, f := range []struct{ label, value string }{
			{"subject", item.Commit.Subject}, {"author", item.Commit.Author + "  " + minute(item.Commit.Date) + " (claimed)"},
			{"outcome", item.Commit.Outcome}, {"signer", item.Commit.Signer}, {"principal", item.Commit.Principal}, {"detail", item.Commit.Detail},
			{"at its date", item.AtItsDate},
		} {
			if f.value != "" {
				lines = append(lines, branch{cells: []cell{{text: f.label}, {text: f.value}}})
			}
		}
		con.tree(lines)
	}
}

package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
)

type doctorOptions struct {
	source
	output, readyz string
}

func doctorCommand() *cobra.Command {
	o := doctorOptions{}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say what to do about it",
		Long: `Look for what is wrong, and say what to do about it: the configuration, the
Origins and their signers, the files in them, the clock; and with a cluster
(--kubeconfig, --context, --live, or no --config) Gitward's installation there.

Exit codes: 0 all is well (warnings are no more than that), 1 something is
wrong, 2 could not tell.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return doctor(cmd, &o)
		},
	}
	f := c.Flags()
	o.source.flags(f)
	f.BoolVar(&o.live, "live", false, "look at the cluster of the usual kubeconfig too")
	f.StringVar(&o.readyz, "readyz", "", "URL of the service's /readyz, to be asked")
	f.StringVarP(&o.output, "output", "o", "table", outputs)
	return c
}

// The results of one check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
)

// doctorResult is what -o json prints.
type doctorResult struct {
	document
	Items []diagnosis `json:"items"`
}

// diagnosis is one line: what was looked at, what was found, and what to do.
type diagnosis struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warn, fail
	Found  string `json:"found"`
	Do     string `json:"do,omitempty"`
}

func (r *doctorResult) ok(check, found string, args ...any) {
	r.Items = append(r.Items, diagnosis{Check: check, Result: checkOK, Found: fmt.Sprintf(found, args...)})
}

func (r *doctorResult) warn(check, found, do string) {
	r.Items = append(r.Items, diagnosis{Check: check, Result: checkWarn, Found: found, Do: do})
}

func (r *doctorResult) fail(check, found, do string) {
	r.Items = append(r.Items, diagnosis{Check: check, Result: checkFail, Found: found, Do: do})
}

func doctor(cmd *cobra.Command, o *doctorOptions) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	con := newConsole(cmd)
	r := &doctorResult{document: documentOf("DoctorResult"), Items: []diagnosis{}}
	if err := o.examine(cmd.Context(), con, r); err != nil {
		return err
	}
	if o.output == "table" {
		r.print(con)
	} else if err := con.structured(o.output, r); err != nil {
		return err
	}
	for _, d := range r.Items {
		if d.Result == checkFail {
			return errFound
		}
	}
	return nil
}

// examine goes on as long as there is something to look at: one thing that is
// wrong must not hide the next.
func (o *doctorOptions) examine(ctx context.Context, con *console, r *doctorResult) error {
	now := time.Now()
	r.clock(now, builtAt())
	l := &loaded{stop: func() {}}
	err := o.read(ctx, l)
	if l.cluster != nil {
		r.cluster(ctx, l.cluster, now)
	}
	if o.readyz != "" {
		r.ready(ctx, o.readyz)
	}
	if err != nil {
		found, do := splitRemedy(err)
		r.fail("configuration", found, either(do, "mend it; what is not understood is not in force"))
		return ctx.Err()
	}
	r.configured(l.configuration)
	if err := o.prepare(ctx, l, con); err != nil {
		return err
	}
	defer l.stop()
	for i := range l.configuration.origins {
		o.examineOrigin(ctx, con, l, &l.configuration.origins[i], r)
	}
	if l.cluster != nil {
		r.webhooks(ctx, l.cluster, denies(l.configuration), now)
	}
	return ctx.Err()
}

// splitRemedy takes apart an error that says what to do.
func splitRemedy(err error) (found, do string) {
	found, do, _ = strings.Cut(err.Error(), "\n  do    ")
	return found, do
}

func either(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// builtAt is when the commit was made that this binary stems from; zero if
// that is not known.
func builtAt() time.Time {
	v := versionOf(debug.ReadBuildInfo())
	at, err := time.Parse(time.RFC3339, v.Time)
	if err != nil {
		return time.Time{}
	}
	return at
}

// theseDays is a time that no right clock is before.
var theseDays = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock: the validity of keys and certificates, and lag, are measured by it.
func (r *doctorResult) clock(now, built time.Time) {
	if now.Before(theseDays) || now.Before(built.Add(-time.Hour)) {
		r.fail("clock", "it says "+minute(now)+", which is before this program was made", "set the system's clock; run NTP")
		return
	}
	r.ok("clock", "%s", minute(now))
}

func (r *doctorResult) configured(c *configuration) {
	r.ok("configuration", "%s, %s", count(len(c.origins), "Origin"), count(len(c.gates), "Gate"))
	if len(c.origins) == 0 {
		r.fail("configuration", "there is no Origin: nothing is traceable", "create an Origin")
	}
	if len(c.gates) == 0 {
		r.warn("gates", "there is no Gate: nothing is judged", "create a Gate")
	}
	for i := range c.gates {
		g := &c.gates[i]
		switch {
		case len(g.Spec.Origins) == 0:
			r.warn("gate "+g.Name, "it accepts no Origin: it finds everything untraced", "list Origins in spec.origins")
		case g.Spec.Action != v1alpha1.ActionDeny:
			r.ok("gate "+g.Name, "action %s: it refuses nothing", g.Spec.Action)
		default:
			r.ok("gate "+g.Name, "action Deny")
		}
	}
}

func denies(c *configuration) bool {
	for i := range c.gates {
		if c.gates[i].Spec.Action == v1alpha1.ActionDeny {
			return true
		}
	}
	return false
}

// examineOrigin looks at one Origin: its signers, its repository, its files.
func (o *doctorOptions) examineOrigin(ctx context.Context, con *console, l *loaded, origin *v1alpha1.Origin, r *doctorResult) {
	name := "origin " + origin.Name
	settings, err := o.settings(l, origin)
	if err != nil {
		r.fail(name, err.Error(), "mend the Origin or its Secret")
		return
	}
	r.signers("signers of "+origin.Name, keysOf(origin.Name, settings.Keyring, time.Now()), time.Now())
	if err := l.hub.Set(ctx, settings); err != nil {
		r.fail(name, err.Error(), strings.TrimPrefix(remedy(l, origin.Name, err), "\n  do    "))
		return
	}
	if !o.offline {
		stop := con.progress(func() string { return "reading Origin " + origin.Name })
		err = l.hub.Sync(ctx, origin.Name)
		stop()
	}
	if err != nil {
		r.fail(name, err.Error(), strings.TrimPrefix(remedy(l, origin.Name, err), "\n  do    "))
	}
	if s := l.hub.Snapshot(origin.Name); s != nil {
		r.origin(name, s, err == nil)
	}
}

// soon is how long before its end a key or certificate is worth a warning.
const soon = 30 * 24 * time.Hour

func (r *doctorResult) signers(name string, keys []keyItem, now time.Time) {
	usable := 0
	for _, k := range keys {
		who := gitindex.Clean(k.Kind+":"+k.Fingerprint+" ("+strings.Join(k.Principals, ", ")+")", 200)
		switch {
		case k.State == keyExpired:
			r.warn(name, who+" expired "+minute(*k.ValidBefore), "renew the key, or take it out of the Secret")
		case k.State == keyValid && k.ValidBefore != nil && k.ValidBefore.Sub(now) < soon:
			r.warn(name, who+" expires "+minute(*k.ValidBefore), "renew the key in time")
		}
		if k.State == keyValid {
			usable++
		}
	}
	if usable == 0 {
		r.fail(name, fmt.Sprintf("none of %s is valid: no new commit can count", count(len(keys), "key")), "put a valid key into the Secret")
		return
	}
	r.ok(name, "%d of %s valid", usable, count(len(keys), "key"))
}

// mostTold bounds how many files, or changes held back, are told.
const mostTold = 5

// origin says what an Origin's snapshot shows.
func (r *doctorResult) origin(name string, s *gitindex.Snapshot, fetched bool) {
	switch {
	case s.Accepted == nil && s.Frozen != "":
		r.fail(name, s.Frozen, "find out who moved the ref, and move it back")
	case s.Accepted == nil && fetched:
		r.fail(name, "no commit of "+s.Ref+" is trusted yet", "`gitward signers verify "+gitindex.Short(s.Tip)+"` says why the newest does not count")
	case s.Accepted != nil:
		r.accepted(name, s)
	}
	r.held(name, s.Held)
	r.problems(name, s.Problems)
}

func (r *doctorResult) accepted(name string, s *gitindex.Snapshot) {
	if s.Count() == 0 && len(s.Held) > 0 {
		r.fail(name, "no commit of "+s.Ref+" that declares something is trusted", "`gitward signers verify "+s.Accepted.Short()+"` says why the newest does not count")
	} else {
		newest := "counts"
		if good, why := counts(s.Accepted.Verdict.Outcome, true); !good {
			newest = "does not: " + why
		}
		r.ok(name, "%s at %s@%s; the newest commit %s", count(s.Count(), "object"), s.Ref, s.Accepted.Short(), newest)
	}
	if s.Frozen != "" {
		r.warn(name, "it does not follow its ref: "+s.Frozen, "revert in place of forcing; only a commit on top is followed")
	}
	if ahead := time.Until(s.Accepted.Committer.When); ahead > 5*time.Minute {
		r.warn("clock", fmt.Sprintf("commit %s says it was made %s from now", s.Accepted.Short(), ahead.Round(time.Minute)), "compare the clocks here and there")
	}
}

func (r *doctorResult) held(name string, changes []gitindex.HeldChange) {
	for i, h := range changes {
		if i == mostTold {
			r.warn(name, fmt.Sprintf("%d more are held back", len(changes)-i), "")
			return
		}
		_, why := counts(h.Commit.Verdict.Outcome, true)
		r.warn(name, fmt.Sprintf("%s is held back as commit %s has it: %s", gitindex.Clean(h.Path, 200), h.Commit.Short(), why),
			"have somebody trusted commit it; `gitward signers verify "+h.Commit.Short()+"` says more")
	}
}

func (r *doctorResult) problems(name string, problems []gitindex.Problem) {
	for i, p := range problems {
		if i == mostTold {
			r.warn(name, count(len(problems)-i, "more problem"), "")
			return
		}
		r.warn(name, gitindex.Clean(p.String(), 300), "mend the file")
	}
}

func (r *doctorResult) print(con *console) {
	tally := map[string]int{}
	var rows [][]cell
	for _, d := range r.Items {
		tally[d.Result]++
		m := map[string]mark{checkOK: markGood, checkWarn: markNotice}[d.Result]
		if d.Result == checkFail {
			m = markBad
		}
		rows = append(rows, []cell{con.marked(m, d.Result), plain(d.Check), {text: d.Found}})
		if d.Do != "" {
			rows = append(rows, []cell{{}, {}, {text: "do  " + d.Do}})
		}
	}
	con.columns(rows, 2)
	fmt.Fprintf(con.out, "\n%d ok, %s, %d failed\n", tally[checkOK], count(tally[checkWarn], "warning"), tally[checkFail])
}

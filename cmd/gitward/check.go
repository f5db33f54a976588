package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/policy"
)

type checkOptions struct {
	source
	output           string
	exitCode, strict bool
}

func checkCommand() *cobra.Command {
	o := checkOptions{}
	c := &cobra.Command{
		Use:   "check FILE|DIR|-...",
		Short: "Say whether objects would be admitted, and why not",
		Long: `Say whether objects would be admitted, and why not.

A directory is rendered as the server renders the repository: kustomizations,
charts, jsonnet, and what Flux and Argo CD objects in it open; a file, or
standard input, is read as it stands. Each object is put to the same engine
that the webhook asks, as the creation that "kubectl create" would request.
Nothing is recorded, and no
cluster is needed: with --config the Origins, Gates and Secrets come from a
directory. With --origin a repository on this machine takes the place of an
Origin's URL, so that a commit can be judged before it is pushed.

What the Gates would let pass is put to their policies, at the point "ci": as
the server does, and in children like its own.

Exit codes: 0 all admitted, 1 something refused, 2 could not tell.`,
		Example: `  gitward check --config gitward/ clusters/prod
  gitward check --config gitward/ --origin . deploy.yaml
  kustomize build | gitward check --config gitward/ -n shop -
  gitward check --config gitward/ --origin . -o sarif clusters/prod > gitward.sarif`,
		Args: atLeastOneArg("FILE, DIR or -"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return check(cmd, &o, args)
		},
	}
	f := c.Flags()
	o.source.flags(f)
	f.StringArrayVar(&o.local, "origin", nil, "DIR or NAME=DIR: read this repository, at its HEAD, in place of the Origin's URL")
	f.StringVarP(&o.output, "output", "o", "table", reportOutputs)
	f.BoolVar(&o.strict, "strict", false, "count as refused what a Gate only audits or warns about")
	f.BoolVar(&o.exitCode, "exit-code", true, "exit with 1 when something is refused; false: with 0")
	return c
}

// atLeastOneArg is cobra's MinimumNArgs(1), saying what is missing.
func atLeastOneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s: give at least one %s", cmd.Name(), what)
		}
		return nil
	}
}

// verdict is what a command says of one object, and how it is shown.
type verdict string

// The verdicts of check.
const (
	verdictAdmitted verdict = "admitted"
	verdictAudited  verdict = "audited" // admitted by a Gate that only audits; it would be refused
	verdictWarned   verdict = "warned"  // likewise, with a warning
	verdictRefused  verdict = "refused"
	verdictUnknown  verdict = "unknown" // could not tell
)

func (v verdict) mark() mark {
	switch v {
	case verdictAdmitted:
		return markGood
	case verdictAudited, verdictWarned:
		return markNotice
	case verdictRefused:
		return markBad
	}
	return markUnsure
}

// checkResult is what -o json prints.
type checkResult struct {
	document
	Items []checkItem `json:"items"`
}

type checkItem struct {
	Object objectName `json:"object"`
	File   string     `json:"file"`
	Line   int        `json:"line,omitempty"`
	// Unit is what the object is rendered by, and Level how directly Git says
	// what it is: exact, rendered, pinned, templated.
	Unit    string  `json:"unit,omitempty"`
	Level   string  `json:"level,omitempty"`
	Verdict verdict `json:"verdict"`
	// Reason is why it is admitted (Git, NotGated …) or refused (NotInGit,
	// Differs, Unsigned …).
	Reason string `json:"reason,omitempty"`
	Gate   string `json:"gate,omitempty"`
	Action string `json:"action,omitempty"` // of the Gate
	// Source is what the object was traced to, or is closest to.
	Source      *sourceItem      `json:"source,omitempty"`
	Differences []differenceItem `json:"differences,omitempty"`
	Message     string           `json:"message,omitempty"`
	// Policies are what policies found, whether it is refused for that or not.
	Policies []policyItem `json:"policies,omitempty"`
}

// policyItem is what one policy has against an object.
type policyItem struct {
	Gate    string        `json:"gate,omitempty"`
	Policy  string        `json:"policy"`
	Title   string        `json:"title,omitempty"`
	Action  policy.Action `json:"action"` // that follows, by the policy and the Gate
	Kind    policy.Kind   `json:"kind"`
	Message string        `json:"message"`
	Fix     string        `json:"fix,omitempty"`
	// Origin and Revision say which commit's policy it is, File and Line where it
	// lies in that repository.
	Origin   string `json:"origin,omitempty"`
	Revision string `json:"revision,omitempty"`
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
}

// sourceItem is where a manifest stands in Git.
type sourceItem struct {
	Origin string `json:"origin"`
	Path   string `json:"path"`
	Line   int    `json:"line"`
	End    int    `json:"end"`
	Commit string `json:"commit"`
	Author string `json:"author"`
	Signer string `json:"signer,omitempty"`
	// Unit is what rendered the object, Via the Origin whose object opened the
	// unit where that is another, Level how directly Git says what the object is.
	Unit  string `json:"unit,omitempty"`
	Via   string `json:"via,omitempty"`
	Level string `json:"level,omitempty"`
}

// place is a file and the line the object begins in, as far as that is known.
func (s *sourceItem) place() string {
	if s.Line == 0 {
		return gitindex.Clean(s.Path, 200)
	}
	return fmt.Sprintf("%s:%d", gitindex.Clean(s.Path, 200), s.Line)
}

// span is the place, with the object's last line.
func (s *sourceItem) span() string {
	if s.Line == 0 || s.End <= s.Line {
		return s.place()
	}
	return fmt.Sprintf("%s-%d", s.place(), s.End)
}

func sourceOf(m *gitindex.Manifest) *sourceItem {
	if m == nil {
		return nil
	}
	s := &sourceItem{Origin: m.Origin, Path: m.Path, Line: m.Line, End: m.End, Commit: m.Commit.ID, Author: m.Commit.Author.String(),
		Unit: m.Unit, Via: m.Via, Level: string(m.Level)}
	if m.Commit.Verdict.Outcome == gitindex.Good {
		s.Signer = m.Commit.Verdict.Signer.String()
	}
	return s
}

func check(cmd *cobra.Command, o *checkOptions, args []string) error {
	if err := checkReportOutput(o.output); err != nil {
		return err
	}
	files, err := readFiles(args, cmd.InOrStdin())
	if err != nil {
		return err
	}
	s := newConsole(cmd)
	l, err := o.load(cmd.Context(), s)
	if err != nil {
		return err
	}
	defer l.stop()
	l.bringPolicies(cmd.Context(), s)
	result := checkResult{document: documentOf("CheckResult"), Items: []checkItem{}}
	for _, f := range files {
		items := []checkItem(nil)
		if f.isDir {
			if items, err = l.checkDirectory(cmd.Context(), f.name, o.strict); err != nil {
				return err
			}
		} else {
			items = l.checkFile(cmd.Context(), f, o.strict)
		}
		result.Items = append(result.Items, items...)
	}
	l.tellGates(s, result.Items)
	if err := s.write(o.output, result.shown()); err != nil {
		return err
	}
	return result.exit(o.exitCode)
}

// inputFile is one file to be checked, read whole, or a directory.
type inputFile struct {
	name  string
	isDir bool
	data  []byte
}

// readFiles reads the files and standard input that args name.
func readFiles(args []string, stdin io.Reader) ([]inputFile, error) {
	var files []inputFile
	for _, arg := range args {
		f, err := readInput(arg, stdin)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func readInput(arg string, stdin io.Reader) (inputFile, error) {
	if arg == "-" {
		data, err := io.ReadAll(stdin)
		if err != nil {
			return inputFile{}, fmt.Errorf("reading standard input: %w", err)
		}
		return inputFile{name: "-", data: data}, nil
	}
	info, err := os.Stat(arg)
	if err != nil {
		return inputFile{}, fmt.Errorf("reading what to check: %w", err)
	}
	if info.IsDir() {
		return inputFile{name: arg, isDir: true}, nil
	}
	data, err := os.ReadFile(arg)
	if err != nil {
		return inputFile{}, fmt.Errorf("reading what to check: %w", err)
	}
	return inputFile{name: arg, data: data}, nil
}

// checkFile judges every object of a file. What cannot be read is an item too:
// it must not look as if it had been admitted.
func (l *loaded) checkFile(ctx context.Context, f inputFile, strict bool) []checkItem {
	objects, problems := render.File(f.name, f.data, render.Limits{})
	var items []checkItem
	for i := range objects {
		items = append(items, l.checkObject(ctx, &objects[i], strict))
	}
	for _, p := range problems {
		items = append(items, checkItem{Line: p.Line, Verdict: verdictUnknown, Reason: string(gate.Unreadable),
			Message: p.String() + "\n  do    mend the file"})
	}
	for i := range items {
		items[i].File = f.name
	}
	return items
}

func (l *loaded) checkObject(ctx context.Context, o *render.Object, strict bool) checkItem {
	item := checkItem{Object: objectName{o.Group, o.Version, o.Kind, o.Namespace, o.Name}, Line: o.Line}
	req, err := l.creation(o)
	if req != nil {
		item.Object.Namespace = req.Ref().Namespace
	}
	if err != nil {
		item.Verdict, item.Reason = verdictUnknown, string(gate.Unreadable)
		item.Message = fmt.Sprintf("%s cannot be read as the API server would: %v\n  do    mend the file", item.name(), err)
		return item
	}
	g := l.gate(nil, false)
	g.Point = policy.CI
	d := g.Decide(ctx, req)
	item.Verdict, item.Reason = verdictOf(&d, strict), string(d.Reason)
	item.Policies = policyItems(d.Findings)
	item.Gate, item.Source = d.Gate, sourceOf(d.Manifest)
	if d.Gate != "" {
		item.Action = d.Action.String()
	}
	if d.Refusal != nil && d.Refusal.Kind == gate.SchemaUnknown && d.Manifest != nil && bytes.Equal(req.Object, d.Manifest.Raw) {
		// Whatever its schema makes of it, it makes the same of Git's.
		item.Verdict, item.Reason = verdictAdmitted, string(gate.ByGit)
		return item
	}
	if d.Refusal != nil {
		item.Reason, item.Message = string(d.Refusal.Kind), refusalText(d.Refusal)
		item.Differences = differencesOf(req.Ref(), d.Refusal.Diffs)
	}
	return item
}

func verdictOf(d *gate.Decision, strict bool) verdict {
	switch {
	case d.Refusal != nil && d.Refusal.Kind.Transient():
		return verdictUnknown
	case d.Refusal != nil && (strict || !d.Allowed):
		return verdictRefused
	case d.Refusal != nil && d.Action == gate.Warn:
		return verdictWarned
	case d.Refusal != nil:
		return verdictAudited
	case d.Allowed:
		return verdictFor(d.Findings, strict)
	}
	return verdictRefused
}

// verdictFor is the verdict on what is admitted although policies have found
// something.
func verdictFor(found []gate.Finding, strict bool) verdict {
	out := verdictAdmitted
	for i := range found {
		switch {
		case strict:
			return verdictRefused
		case found[i].Action == gate.Warn:
			return verdictWarned
		default:
			out = verdictAudited
		}
	}
	return out
}

func policyItems(found []gate.Finding) []policyItem {
	var out []policyItem
	for _, f := range found {
		item := policyItem{Gate: f.Gate, Policy: f.Policy, Title: f.Title, Kind: f.Kind, Message: f.Message, Fix: f.Fix,
			Origin: f.Origin, Revision: f.Revision, File: f.File, Line: f.Line}
		switch f.Action {
		case gate.Warn:
			item.Action = policy.Warn
		case gate.Audit:
			item.Action = policy.Audit
		}
		out = append(out, item)
	}
	return out
}

// refusalText is what the person would see from the webhook, without the id of
// a decision: nothing was decided here.
func refusalText(r *gate.Refusal) string {
	var b strings.Builder
	b.WriteString(r.Head)
	for _, fact := range r.Facts {
		b.WriteString("\n    " + fact)
	}
	b.WriteString("\n  do    " + r.Do)
	return b.String()
}

// name is the object for people.
func (i *checkItem) name() string {
	if i.Object.Kind == "" {
		return "-"
	}
	o := i.Object
	return gitindex.Clean(gitindex.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}.String(), 120)
}

func (i *checkItem) place() string {
	file := gitindex.Clean(i.File, 300)
	if i.Line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, i.Line)
}

// tellGates warns that nothing was held against Git, where that is so.
func (l *loaded) tellGates(s *console, items []checkItem) {
	for _, i := range items {
		if i.Verdict != verdictAdmitted || i.Reason != string(gate.NotGated) {
			return
		}
	}
	if len(items) > 0 {
		s.note("no Gate matches these objects (there %s): anybody may apply them", areGates(len(l.configuration.gates)))
	}
}

func areGates(n int) string {
	if n == 1 {
		return "is 1 Gate"
	}
	return "are " + count(n, "Gate")
}

func (r *checkResult) print(s *console) {
	if len(r.Items) == 0 {
		s.note("the files hold no objects")
		return
	}
	rendered := slices.ContainsFunc(r.Items, func(i checkItem) bool { return i.Unit != "" })
	head := "OBJECT VERDICT REASON COMMIT FILE"
	if rendered {
		head = "UNIT " + head
	}
	var rows [][]cell
	for i := range r.Items {
		row := r.Items[i].row(s)
		if rendered {
			row = append([]cell{plain(gitindex.Clean(r.Items[i].Unit, 120))}, row...)
		}
		rows = append(rows, row)
	}
	s.table(head, rows)
	for _, item := range r.Items {
		if item.Message != "" {
			fmt.Fprintf(s.out, "\n%s\n", item.Message)
		}
		for i := range item.Policies {
			if p := &item.Policies[i]; p.Action != policy.Deny {
				fmt.Fprintf(s.out, "\n%s %s by policy %q (%s): %s\n", item.name(), p.word(), gitindex.Clean(p.Policy, 60), p.place(), p.Message)
				if p.Fix != "" {
					fmt.Fprintf(s.out, "  do    %s\n", p.Fix)
				}
			}
		}
	}
}

func (i *checkItem) row(s *console) []cell {
	commit := ""
	if i.Source != nil {
		commit = gitindex.Short(i.Source.Commit)
	}
	return []cell{plain(i.name()), s.marked(i.Verdict.mark(), string(i.Verdict)), plain(i.Reason), plain(commit), plain(i.place())}
}

// exit is the error that says how the command ends: what could not be told
// weighs more than what was refused.
func (r *checkResult) exit(code bool) error {
	bad, unsure := 0, 0
	for _, i := range r.Items {
		switch i.Verdict {
		case verdictRefused:
			bad++
		case verdictUnknown:
			unsure++
		}
	}
	switch {
	case unsure > 0:
		return fmt.Errorf("of %s, %d could not be judged", count(len(r.Items), "object"), unsure)
	case bad > 0 && code:
		return errFound
	}
	return nil
}

package main

import (
	"fmt"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
)

// shown is the result in every format of -o.
func (r *checkResult) shown() result {
	return result{document: r, table: r.print, report: r.report()}
}

// report is the result for CI: a case is an object, a rule the reason why it is
// not admitted, or the policy that it breaks.
func (r *checkResult) report() *report {
	out := &report{command: "gitward check", noun: "object", about: map[string]string{}}
	for i := range r.Items {
		out.cases = append(out.cases, r.Items[i].report(out.about))
	}
	return out
}

func (i *checkItem) report(about map[string]string) reportCase {
	c := reportCase{suite: i.Unit, name: i.name(), at: location{file: fromHere(i.File), line: i.Line}, word: string(i.Verdict)}
	weight := severe
	switch i.Verdict {
	case verdictAdmitted:
		c.outcome = outPassed
	case verdictAudited:
		c.outcome, weight = outWarned, trivial
	case verdictWarned:
		c.outcome, weight = outWarned, mild
	case verdictRefused:
		c.outcome = outFailed
	default:
		c.outcome = outErrored
	}
	byPolicy := false
	for j := range i.Policies {
		f := i.Policies[j].report(i, weight)
		byPolicy = byPolicy || f.severity == severe
		if title := i.Policies[j].Title; title != "" {
			about[f.rule] = gitindex.Clean(title, 200)
		}
		c.findings = append(c.findings, f)
	}
	if i.Message != "" && !(byPolicy && i.policied()) {
		c.findings = append(c.findings, reportFinding{rule: i.Reason, severity: weight, message: i.Message})
	}
	return c
}

// policied reports that the refusal is a policy's, whose finding says it all.
func (i *checkItem) policied() bool {
	return i.Reason == "PolicyViolation" || i.Reason == "PolicyFailed"
}

// report is the finding as one of the object: where the object stands, and where
// the policy does.
func (p *policyItem) report(of *checkItem, refused severity) reportFinding {
	f := reportFinding{rule: gitindex.Clean(p.Policy, 120), message: fmt.Sprintf("%s %s by policy %s: %s", of.name(), p.word(), gitindex.Clean(p.Policy, 120), p.Message), fix: p.Fix,
		related: []location{{file: p.File, line: p.Line, text: p.related()}}}
	switch p.Action {
	case policy.Deny:
		f.severity = refused
	case policy.Warn:
		f.severity = mild
	case policy.Audit:
		f.severity = trivial
	}
	return f
}

func (p *policyItem) related() string {
	text := "the policy"
	if p.Title != "" {
		text += " " + gitindex.Clean(p.Title, 120)
	}
	if p.Origin != "" {
		text += fmt.Sprintf(" (%s@%s)", p.Origin, gitindex.Short(p.Revision))
	}
	return text
}

// word says what follows from a finding.
func (p *policyItem) word() string {
	switch p.Action {
	case policy.Warn:
		return "is warned of"
	case policy.Audit:
		return "is noted"
	}
	return "is refused"
}

func (p *policyItem) place() string {
	at := location{file: p.File, line: p.Line}.String()
	if p.Origin != "" {
		at = p.Origin + "@" + gitindex.Short(p.Revision) + " " + at
	}
	return at
}

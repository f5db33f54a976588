package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// report is the result of a command as CI systems show it: cases, of which each
// has findings. It knows nothing of what the command was about.
type report struct {
	command string // "gitward check"
	noun    string // what a case is about: "object"
	cases   []reportCase
	// about says of each rule of a finding what it demands; it may lack some.
	about map[string]string
	// notes are for people, at the end.
	notes []string
}

// outcome is what became of a case.
type outcome string

// The outcomes. The zero value is none of them.
const (
	outPassed  outcome = "passed"
	outWarned  outcome = "warned" // it has findings that fail nothing
	outFailed  outcome = "failed"
	outSkipped outcome = "skipped"
	outErrored outcome = "error" // could not tell
)

func (o outcome) mark() mark {
	switch o {
	case outPassed:
		return markGood
	case outWarned, outSkipped:
		return markNotice
	case outFailed:
		return markBad
	}
	return markUnsure
}

// reportCase is one thing that was judged.
type reportCase struct {
	suite, name string
	at          location
	outcome     outcome
	word        string // for people, in place of the outcome; may be empty
	findings    []reportFinding
	took        time.Duration
	output      string // what it printed
}

// severity is how much a finding weighs.
type severity string

// The severities, by SARIF's names (2.1.0, 3.27.10).
const (
	severe  severity = "error"
	mild    severity = "warning"
	trivial severity = "note"
)

// reportFinding is one thing that was found.
type reportFinding struct {
	rule     string
	severity severity
	message  string // the first line is the short one
	fix      string
	at       location // of the case, if it has no file
	related  []location
}

// location is a file and a line of it, as far as they are known.
type location struct {
	file string
	line int
	text string // what is there, for related ones
}

func (l location) String() string {
	if l.line == 0 {
		return gitindex.Clean(l.file, 300)
	}
	return fmt.Sprintf("%s:%d", gitindex.Clean(l.file, 300), l.line)
}

// fromHere is a file's path from the working directory, if it lies below: CI
// systems know files by their path in the checkout.
func fromHere(file string) string {
	if !filepath.IsAbs(file) {
		return filepath.ToSlash(filepath.Clean(file))
	}
	here, err := os.Getwd()
	if err != nil {
		return file
	}
	if real, err := filepath.EvalSymlinks(here); err == nil {
		here = real
	}
	rel, err := filepath.Rel(here, file)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return filepath.ToSlash(file)
	}
	return filepath.ToSlash(rel)
}

// place is where a finding of a case is shown.
func (c *reportCase) place(f *reportFinding) location {
	if f.at.file != "" {
		return f.at
	}
	return c.at
}

func (r *report) count(o outcome) int {
	n := 0
	for i := range r.cases {
		if r.cases[i].outcome == o {
			n++
		}
	}
	return n
}

// summary is one line: "3 objects: 1 failed, 2 passed".
func (r *report) summary() string {
	var parts []string
	for _, o := range []outcome{outFailed, outErrored, outWarned, outSkipped, outPassed} {
		if n := r.count(o); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o.word(n)))
		}
	}
	if len(parts) == 0 {
		return count(0, r.noun)
	}
	return count(len(r.cases), r.noun) + ": " + strings.Join(parts, ", ")
}

func (o outcome) word(n int) string {
	switch {
	case o == outErrored && n != 1:
		return "errors"
	case o == outWarned:
		return "with warnings"
	}
	return string(o)
}

// reportFormats are the formats of -o that a report is written in.
var reportFormats = map[string]func(*report, io.Writer) error{
	"junit": (*report).junit, "sarif": (*report).sarif, "github": (*report).github, "markdown": (*report).markdown,
}

// reportOutputs are the formats of -o of a command that has a report.
const reportOutputs = "table, json, yaml, junit, sarif, github or markdown"

func checkReportOutput(format string) error {
	if _, ok := reportFormats[format]; ok || checkOutput(format) == nil {
		return nil
	}
	return fmt.Errorf("-o %q is none of %s", format, reportOutputs)
}

// result is what a command has to say, in every format of -o.
type result struct {
	document any // for json and yaml
	table    func(*console)
	report   *report
}

// write writes a result in a format.
func (s *console) write(format string, r result) error {
	if format == "table" {
		r.table(s)
		return nil
	}
	if to, ok := reportFormats[format]; ok {
		if err := to(r.report, s.out); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
		return nil
	}
	return s.structured(format, r.document)
}

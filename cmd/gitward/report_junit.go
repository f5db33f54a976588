package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// The XML that JUnit's reporters write, as GitLab, Jenkins and the others read
// it.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`

		took time.Duration
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Classname string        `xml:"classname,attr"`
		File      string        `xml:"file,attr,omitempty"`
		Line      int           `xml:"line,attr,omitempty"`
		Time      string        `xml:"time,attr"`
		Failure   *junitMessage `xml:"failure"`
		Error     *junitMessage `xml:"error"`
		Skipped   *struct{}     `xml:"skipped"`
		Output    *junitText    `xml:"system-out"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",cdata"`
	}
	junitText struct {
		Text string `xml:",cdata"`
	}
)

func (r *report) junit(w io.Writer) error {
	all := junitSuites{Name: r.command, Tests: len(r.cases), Failures: r.count(outFailed), Errors: r.count(outErrored), Skipped: r.count(outSkipped)}
	at := map[string]int{}
	for i := range r.cases {
		c := &r.cases[i]
		name := c.suite
		if name == "" {
			name = r.command
		}
		n, ok := at[name]
		if !ok {
			n = len(all.Suites)
			at[name] = n
			all.Suites = append(all.Suites, junitSuite{Name: name})
		}
		all.Suites[n].add(c)
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

func (s *junitSuite) add(c *reportCase) {
	s.Tests++
	s.took += c.took
	s.Time = seconds(s.took)
	out := junitCase{Name: c.name, Classname: s.Name, File: c.at.file, Line: c.at.line, Time: seconds(c.took)}
	output := c.output
	switch c.outcome {
	case outFailed:
		s.Failures++
		out.Failure = c.message()
	case outErrored:
		s.Errors++
		out.Error = c.message()
	case outSkipped:
		s.Skipped++
		out.Skipped = &struct{}{}
	case outWarned:
		output = strings.TrimSpace(c.message().Text + "\n" + output)
	}
	if output != "" {
		out.Output = &junitText{output}
	}
	s.Cases = append(s.Cases, out)
}

func (c *reportCase) message() *junitMessage {
	m := &junitMessage{}
	var text []string
	for i := range c.findings {
		f := &c.findings[i]
		if i == 0 {
			m.Message, m.Type = firstLine(f.message), f.rule
		}
		text = append(text, f.whole(c.place(f)))
	}
	if len(c.findings) > 1 {
		m.Message += fmt.Sprintf(" (and %d more)", len(c.findings)-1)
	}
	m.Text = strings.Join(text, "\n\n")
	return m
}

// whole is all there is to say of a finding.
func (f *reportFinding) whole(at location) string {
	var b strings.Builder
	if at.file != "" {
		fmt.Fprintf(&b, "%s: ", at)
	}
	b.WriteString(f.message)
	for _, l := range f.related {
		fmt.Fprintf(&b, "\n    %s: %s", l, l.text)
	}
	if f.fix != "" {
		b.WriteString("\n  do    " + f.fix)
	}
	return b.String()
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return gitindex.Clean(first, 300)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// github writes workflow commands, which GitHub Actions shows beside the lines of
// a pull request
// (docs.github.com/actions/reference/workflow-commands-for-github-actions).
func (r *report) github(w io.Writer) error {
	var b strings.Builder
	for i := range r.cases {
		c := &r.cases[i]
		for j := range c.findings {
			f := &c.findings[j]
			b.WriteString(f.github(c.place(f)))
		}
	}
	fmt.Fprintf(&b, "%s: %s\n", r.command, r.summary())
	_, err := io.WriteString(w, b.String())
	return err
}

var (
	githubData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	githubLevel    = map[severity]string{severe: "error", mild: "warning", trivial: "notice"}
)

func (f *reportFinding) github(at location) string {
	var properties []string
	if at.file != "" && at.file != "-" {
		properties = append(properties, "file="+githubProperty.Replace(at.file))
		if at.line > 0 {
			properties = append(properties, fmt.Sprintf("line=%d", at.line))
		}
	}
	properties = append(properties, "title="+githubProperty.Replace(f.rule))
	text := f.message
	for _, l := range f.related {
		text += fmt.Sprintf("\n%s: %s", l, l.text)
	}
	if f.fix != "" {
		text += "\ndo: " + f.fix
	}
	return fmt.Sprintf("::%s %s::%s\n", githubLevel[f.severity], strings.Join(properties, ","), githubData.Replace(text))
}

// markdown writes a table of what is not well, for a comment or a summary.
func (r *report) markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s\n", r.command, r.summary())
	head := false
	for i := range r.cases {
		c := &r.cases[i]
		if c.outcome == outPassed {
			continue
		}
		if !head {
			fmt.Fprintf(&b, "\n| | %s | verdict | where | what |\n|---|---|---|---|---|\n", r.noun)
			head = true
		}
		word := c.word
		if word == "" {
			word = string(c.outcome)
		}
		if len(c.findings) == 0 {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | |\n", c.outcome.mark().symbol, inCell(c.name), word, inCell(c.at.String()))
		}
		for j := range c.findings {
			f := &c.findings[j]
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.outcome.mark().symbol, inCell(c.name), word, inCell(c.place(f).String()), inCell(f.markdown()))
		}
	}
	for _, note := range r.notes {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *reportFinding) markdown() string {
	text := "**" + f.rule + "**: " + f.message
	for _, l := range f.related {
		text += fmt.Sprintf("\n%s: %s", l, l.text)
	}
	if f.fix != "" {
		text += "\n*do* " + f.fix
	}
	return text
}

var cellText = strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "`", "\\`", "[", "\\[", "@", "&#64;")

// inCell keeps what others wrote within a cell of a table: no markup, and nobody
// is called.
func inCell(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = cellText.Replace(gitindex.Clean(strings.TrimSpace(lines[i]), 500))
	}
	return strings.Join(lines, "<br>")
}

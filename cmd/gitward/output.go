package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// cliVersion is the apiVersion of everything that -o json and -o yaml print.
const cliVersion = "cli.gitward.dev/v1"

// document is the head of every such result.
type document struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func documentOf(kind string) document { return document{cliVersion, kind} }

// console is where a command writes and how: with colours only on a terminal,
// and never with NO_COLOR (https://no-color.org).
type console struct {
	out, err      io.Writer
	colour, ascii bool
}

func newConsole(cmd *cobra.Command) *console {
	s := &console{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), ascii: !utf8Locale(os.Getenv)}
	s.colour = isTerminal(s.out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// utf8Locale reports whether the locale can show symbols. Where none is set at
// all, as in most containers, whoever reads the log mostly can.
func utf8Locale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}

// note tells the person something beside the result.
func (s *console) note(format string, args ...any) {
	fmt.Fprintf(s.err, "gitward: "+format+"\n", args...)
}

// mark is a symbol that goes before a word, so that neither colour nor symbol
// says anything alone.
type mark struct{ symbol, ascii, colour string }

var (
	markGood   = mark{"✓", "+", "32"}
	markBad    = mark{"✗", "x", "31"}
	markNotice = mark{"!", "!", "33"}
	markUnsure = mark{"?", "?", "33"}
)

// cell is one field of a table.
type cell struct{ text, colour string }

func (s *console) marked(m mark, word string) cell {
	symbol := m.symbol
	if s.ascii {
		symbol = m.ascii
	}
	return cell{symbol + " " + word, m.colour}
}

func plain(text string) cell {
	if text == "" {
		text = "-"
	}
	return cell{text: text}
}

// table prints rows under a header, as kubectl does.
func (s *console) table(header string, rows [][]cell) {
	var first []cell
	for _, name := range strings.Fields(header) {
		first = append(first, cell{text: name})
	}
	s.columns(append([][]cell{first}, rows...), 3)
}

// columns pads by what is seen: colours take no room, and the end of a line
// moves no other.
func (s *console) columns(rows [][]cell, gap int) {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i+1 < len(row) {
				widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
			}
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(s.paint(c))
			if i+1 < len(row) {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+gap))
			}
		}
		fmt.Fprintln(s.out, strings.TrimRight(line.String(), " "))
	}
}

func (s *console) paint(c cell) string {
	if !s.colour || c.colour == "" {
		return c.text
	}
	return "\x1b[" + c.colour + "m" + c.text + "\x1b[0m"
}

// outputs are the formats of -o.
const outputs = "table, json or yaml"

func checkOutput(format string) error {
	switch format {
	case "table", "json", "yaml":
		return nil
	}
	return fmt.Errorf("-o %q is none of %s", format, outputs)
}

// structured prints a result for programs.
func (s *console) structured(format string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err == nil && format == "yaml" {
		data, err = yaml.JSONToYAML(data)
	}
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	_, err = fmt.Fprintln(s.out, strings.TrimRight(string(data), "\n"))
	return err
}

// branch is one line of a tree, with what hangs under it.
type branch struct {
	cells []cell
	under []branch
}

// tree prints branches, their fields in columns.
func (s *console) tree(branches []branch) {
	var rows [][]cell
	s.grow(&rows, "", branches)
	s.columns(rows, 2)
}

func (s *console) grow(rows *[][]cell, indent string, branches []branch) {
	tee, end, bar := "├─ ", "└─ ", "│  "
	if s.ascii {
		tee, end, bar = "|- ", "`- ", "|  "
	}
	for i, b := range branches {
		lead, below := tee, bar
		if i == len(branches)-1 {
			lead, below = end, "   "
		}
		row := append([]cell{}, b.cells...)
		row[0].text = indent + lead + row[0].text
		*rows = append(*rows, row)
		s.grow(rows, indent+below, b.under)
	}
}

// count writes "1 object", "2 objects".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

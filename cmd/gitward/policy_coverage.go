package main

import (
	"fmt"
	"slices"
	"strings"
)

// finish sorts, and counts the percentage. None is nothing to do.
func (c *coverageOfRego) finish() {
	if c == nil {
		return
	}
	slices.SortFunc(c.Uncovered, func(a, b uncoveredInFile) int { return strings.Compare(a.File, b.File) })
	if c.Percent = 100; c.Lines > 0 {
		c.Percent = float64(c.Covered*1000/c.Lines) / 10
	}
}

func (c *coverageOfRego) summary() string {
	return fmt.Sprintf("%.1f%% of %s of Rego covered", c.Percent, count(c.Lines, "line"))
}

func (c *coverageOfRego) print(s *console) {
	if c == nil {
		return
	}
	for _, f := range c.Uncovered {
		fmt.Fprintf(s.out, "%s: no test comes to %s\n", f.File, spans(f.Lines))
	}
	fmt.Fprintln(s.out, c.summary())
}

// spans writes lines as "line 3" and "lines 3, 5-9".
func spans(lines []int) string {
	slices.Sort(lines)
	lines = slices.Compact(lines)
	var parts []string
	for i := 0; i < len(lines); {
		j := i
		for j+1 < len(lines) && lines[j+1] == lines[j]+1 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("%d-%d", lines[i], lines[j]))
		} else {
			parts = append(parts, fmt.Sprint(lines[i]))
		}
		i = j + 1
	}
	if len(lines) == 1 {
		return "line " + parts[0]
	}
	return "lines " + strings.Join(parts, ", ")
}

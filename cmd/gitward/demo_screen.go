package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen writes for people: at most 100 columns, and colours only where a
// terminal shows them.
type screen struct {
	w       io.Writer
	width   int
	colours bool
	moves   bool // the cursor may be moved: steps show that they are alive
}

// The styles, as ANSI has them.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	blue  = "36"
)

const widest = 100

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, width: widest}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return s
	}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width >= 40 {
		s.width = min(widest, width-1)
	}
	s.moves = os.Getenv("TERM") != "dumb"
	s.colours = s.moves && os.Getenv("NO_COLOR") == ""
	return s
}

func (s *screen) paint(style, text string) string {
	if !s.colours || style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (s *screen) line(text string) { fmt.Fprintln(s.w, text) }

func (s *screen) title(text string) { s.line("\n" + s.paint(bold, text)) }

// scene begins a part of the story.
func (s *screen) scene(label, title string) {
	head := fmt.Sprintf("── %s ── %s ", label, title)
	s.line("\n" + s.paint(bold, head) + s.paint(dim, strings.Repeat("─", max(2, s.width-utf8.RuneCountInString(head)))))
}

// command shows what somebody types.
func (s *screen) command(who, text string) {
	s.line("")
	parts := wrap(text, s.width-len(who)-7, 4)
	for i, part := range parts {
		prompt := s.paint(blue, who+" $")
		if i > 0 {
			prompt = strings.Repeat(" ", len(who)+2)
		}
		if i < len(parts)-1 {
			part += ` \`
		}
		s.line("  " + prompt + " " + s.paint(bold, part))
	}
}

// answer shows what came back, word for word; only lines that are too long are
// broken.
func (s *screen) answer(text string) { s.block(text, "") }

// aside is an answer that matters less.
func (s *screen) aside(text string) { s.block(text, dim) }

func (s *screen) block(text, style string) {
	for l := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		for _, part := range wrap(l, s.width-4, 4) {
			s.line("    " + s.paint(style, part))
		}
	}
}

func (s *screen) why(text string)  { s.mark(dim, "·", text) }
func (s *screen) good(text string) { s.mark(green, "✓", text) }
func (s *screen) bad(text string)  { s.mark(red, "✗", text) }

// wrong is for what does not belong into the story.
func (s *screen) wrong(text string) { s.mark(red, "≠", text) }

// mark is a remark with a sign before it. The first words, up to a colon, have
// the sign's colour.
func (s *screen) mark(style, sign, text string) {
	for i, l := range wrap(text, s.width-4, 0) {
		if i > 0 {
			s.line("    " + s.paint(dim, l))
			continue
		}
		verdict, rest, ok := strings.Cut(l, ": ")
		if !ok || style == dim {
			s.line("  " + s.paint(style, sign+" "+l))
			continue
		}
		s.line("  " + s.paint(style, sign+" "+verdict) + s.paint(dim, ": "+rest))
	}
}

// step does something that takes a while, and says so while it lasts.
func (s *screen) step(doing string, do func() (done string, err error)) error {
	began := time.Now()
	stop := s.spin(doing, began)
	done, err := do()
	stop()
	took := fmt.Sprintf("%.1f s", time.Since(began).Seconds())
	if err != nil {
		s.wrong(doing)
		return fmt.Errorf("%s: %w", doing, err)
	}
	lines := wrap(done, s.width-4-len(took)-2, 2)
	gap := max(2, s.width-4-utf8.RuneCountInString(lines[0])-len(took))
	s.line("  " + s.paint(green, "✓") + " " + lines[0] + strings.Repeat(" ", gap) + s.paint(dim, took))
	for _, l := range lines[1:] {
		s.line("    " + l)
	}
	return nil
}

// spin shows on a terminal that work goes on; elsewhere it says once what is
// being done if that takes longer.
func (s *screen) spin(doing string, began time.Time) (stop func()) {
	every := 10 * time.Second
	if s.moves {
		every = 100 * time.Millisecond
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			text := fmt.Sprintf("%s  %.0f s", doing, time.Since(began).Seconds())
			if !s.moves {
				s.line("  … " + text)
				continue
			}
			fmt.Fprintf(s.w, "\r\x1b[K  %c %s", []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[n%10], wrap(text, s.width-4, 0)[0])
		}
	})
	return func() {
		close(done)
		wg.Wait()
		if s.moves {
			fmt.Fprint(s.w, "\r\x1b[K")
		}
	}
}

// Write shows the lines of somebody else's progress. On a terminal progress is
// redrawn in place, so there it goes past the screen.
func (s *screen) Write(p []byte) (int, error) {
	for l := range strings.SplitSeq(strings.TrimRight(string(p), "\n"), "\n") {
		for _, part := range wrap(l, s.width-4, 15) {
			s.line("  … " + part)
		}
	}
	return len(p), nil
}

// progress is where somebody else's progress goes.
func (s *screen) progress() io.Writer {
	if s.moves {
		return s.w
	}
	return s
}

// wrap breaks a line, between columns or else between words, so that no part is
// wider than width. Parts after the first are indented by hang more than the
// line itself; the branches of a tree go on.
func wrap(line string, width, hang int) []string {
	lead := line[:len(line)-len(strings.TrimLeft(line, " │├└─"))]
	lead = strings.NewReplacer("├", "│", "└", " ", "─", " ").Replace(lead) + strings.Repeat(" ", hang)
	from := utf8.RuneCountInString(lead)
	var out []string
	rest := []rune(line)
	for len(rest) > width {
		cut := breakAt(rest[:width+1], from)
		out = append(out, strings.TrimRight(string(rest[:cut]), " "))
		rest = []rune(lead + strings.TrimLeft(string(rest[cut:]), " "))
	}
	return append(out, string(rest))
}

// breakAt finds where to break a line: at the last gap of a table if half of the
// line comes before it, else at the last space after from, else at its end.
func breakAt(line []rune, from int) int {
	last := len(line) - 1
	for i := last; i > len(line)/2 && i > from; i-- {
		if line[i] == ' ' && line[i-1] == ' ' {
			return i
		}
	}
	for i := last; i > from; i-- {
		if line[i] == ' ' {
			return i
		}
	}
	return last
}

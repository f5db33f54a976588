package controlplane

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

// progress is how far a build is.
type progress struct {
	done, total int
	elapsed     time.Duration
}

// bar draws progress as full and empty cells.
func (p progress) bar(cells int) string {
	full := 0
	if p.total > 0 {
		full = min(cells, cells*p.done/p.total)
	}
	return "[" + strings.Repeat("█", full) + strings.Repeat("░", cells-full) + "]"
}

// left says how long it will still take if the rest goes as the part that is
// done. It says nothing before there is something to reckon from.
func (p progress) left() string {
	switch {
	case p.done >= p.total:
		return "linking"
	case p.elapsed < 3*time.Second || p.done*50 < p.total:
		return "estimating"
	}
	rest := p.elapsed * time.Duration(p.total-p.done) / time.Duration(p.done)
	if rest >= 90*time.Second {
		return fmt.Sprintf("about %d min left", int((rest+30*time.Second)/time.Minute))
	}
	return fmt.Sprintf("about %d s left", max(5, int((rest+4*time.Second)/(5*time.Second))*5))
}

// meter shows the progress of one program: redrawn in place on a terminal,
// elsewhere a plain line every five seconds.
type meter struct {
	w     io.Writer
	title string
	width int // of the terminal; 0 for a plain writer
	every time.Duration

	mu       sync.Mutex
	started  time.Time
	shown    time.Time
	note     string
	progress progress
	modules  int
}

func newMeter(w io.Writer, title string) *meter {
	m := &meter{w: w, title: title, every: 5 * time.Second}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		m.every, m.width = 200*time.Millisecond, 80
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			m.width = width
		}
	}
	return m
}

// begin starts the clock, with a note in place of a count.
func (m *meter) begin(note string) {
	m.change(func() { m.started, m.note = time.Now(), note })
}

// expect sets how many packages there are to compile.
func (m *meter) expect(total int) {
	m.change(func() { m.started, m.note, m.progress.total = time.Now(), "", total })
}

// compiled counts a package.
func (m *meter) compiled() { m.change(func() { m.progress.done++ }) }

// fetched counts a module that had to be downloaded.
func (m *meter) fetched() {
	m.change(func() { m.modules++; m.note = fmt.Sprintf("fetching modules (%d)", m.modules) })
}

// end closes the line.
func (m *meter) end(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.print("stopped")
	} else {
		m.print(fmt.Sprintf("built in %v", time.Since(m.started).Round(time.Second)))
	}
	if m.width > 0 {
		fmt.Fprintln(m.w)
	}
}

func (m *meter) change(by func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	by()
	if time.Since(m.shown) < m.every {
		return
	}
	m.shown = time.Now()
	m.print(m.text())
}

func (m *meter) text() string {
	if m.note != "" {
		return m.note
	}
	p := m.progress
	p.elapsed = time.Since(m.started)
	return fmt.Sprintf("%s %d/%d packages  %s      (once; then cached in ~/.cache/gitward)",
		p.bar(18), min(p.done, p.total), p.total, p.left())
}

func (m *meter) print(text string) {
	line := "control plane  " + m.title + "  " + text
	if m.width == 0 {
		fmt.Fprintln(m.w, line)
		return
	}
	fmt.Fprint(m.w, "\r\x1b[K"+fit(line, m.width-1))
}

// fit cuts a line to a terminal's width: a line that wraps cannot be redrawn.
// The remark in brackets goes first.
func fit(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	line, _, _ = strings.Cut(line, "      (")
	runes := []rune(line)
	return string(runes[:min(len(runes), width)])
}

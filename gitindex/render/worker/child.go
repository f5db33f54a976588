package worker

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/sandbox"
)

// Serve is the child: it locks itself in, then renders one unit after the
// other until in ends. Nothing but in and out is open to it.
func Serve(in io.Reader, out io.Writer, memory int) error {
	debug.SetMemoryLimit(int64(memory) * 3 / 4)
	debug.SetGCPercent(200)       // a child holds little, and collects less often for it
	debug.SetMaxStack(memory / 8) // so that endless recursion is told from want of memory
	if err := sandbox.Enter(memory); err != nil {
		return fmt.Errorf("locking the renderer in: %w", err)
	}
	l := newLine(in, out)
	for {
		var u render.Unit
		if err := l.in.Decode(&u); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading a unit: %w", err)
		}
		src := newRemote(l)
		m := message{Op: opDone}
		m.Output, m.Err = renderOne(src, u)
		if src.dead != nil {
			return src.dead
		}
		if err := l.out.Encode(&m); err != nil {
			return fmt.Errorf("sending what was rendered: %w", err)
		}
	}
}

// renderOne renders one unit. A panic of a library is that unit's failure.
func renderOne(src render.Sources, u render.Unit) (out render.Output, failed *failure) {
	defer func() {
		if p := recover(); p != nil {
			out, failed = render.Output{}, &failure{Text: fmt.Sprintf("the renderer broke down: %v", p)}
		}
	}()
	out, err := Local{}.Render(src, u)
	return out, failureOf(err)
}

package worker

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gitward/gitward/gitindex/render"
)

func init() {
	deeds["signal"] = withParent(func(parent int) error { return unix.Tgkill(parent, parent, 0) })
	deeds["signal by a pipe"] = withParent(func(parent int) error {
		_, err := unix.FcntlInt(1, unix.F_SETOWN, parent)
		return err
	})
	deeds["signal of choice"] = withParent(func(int) error {
		_, err := unix.FcntlInt(1, unix.F_SETSIG, int(unix.SIGKILL))
		return err
	})
}

func withParent(do func(parent int) error) builder {
	return func(_ render.Sources, u render.Unit) (render.Output, error) {
		parent, err := strconv.Atoi(u.Path)
		if err == nil {
			err = do(parent)
		}
		return render.Output{}, err
	}
}

// TestSignalsNobody: a child, whatever it runs, ends no other process: neither
// its parent nor another child, which may render another Origin's units.
func TestSignalsNobody(t *testing.T) {
	p := pool(t)
	for _, deed := range []render.Tool{"signal", "signal by a pipe", "signal of choice"} {
		u := render.Unit{ID: string(deed), Tool: deed, Path: fmt.Sprint(os.Getpid())}
		if _, err := p.Render(render.Alone{}, u); err == nil {
			t.Errorf("%s works in the child", deed)
		} else {
			t.Log(deed, err)
		}
	}
	u := render.Unit{ID: "ok", Tool: "signal", Path: "0"}
	if _, err := p.Render(render.Alone{}, u); err == nil {
		t.Error("a signal to a process group works in the child")
	}
}

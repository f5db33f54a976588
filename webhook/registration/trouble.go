package registration

import (
	"log/slog"
	"sync"
)

// trouble tells an error once, until it is over or another.
type trouble struct {
	log  *slog.Logger
	mu   sync.Mutex
	told map[string]string
}

func (t *trouble) tell(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.told, what)
		return
	}
	if t.told == nil {
		t.told = map[string]string{}
	}
	if t.told[what] != err.Error() {
		t.told[what] = err.Error()
		t.log.Warn(what, "error", err)
	}
}

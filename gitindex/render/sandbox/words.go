package sandbox

import (
	"strings"
	"sync"

	"github.com/gitward/gitward/gitindex"
)

// Words are what a child says on its standard error, for whoever has to say why it
// ended. The zero value is ready, and good for several goroutines.
type Words struct {
	mu   sync.Mutex
	text []byte
}

// mostWords is how much is kept, in bytes: the beginning, where Go's runtime says
// what it died of.
const mostWords = 4096

func (w *Words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p[:min(len(p), mostWords-len(w.text))]...)
	return len(p), nil
}

// String is the first line, clean, of at most 200 characters; empty if it said nothing.
func (w *Words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(string(w.text)), "\n")
	return gitindex.Clean(line, 200)
}

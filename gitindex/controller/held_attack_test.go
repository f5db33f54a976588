package controller

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex/object"
)

// costly are blobs of which a stranger's are as dear as a megabyte of YAML.
type costly struct{ blobs }

func (c costly) Blob(id object.ID) ([]byte, error) {
	data, err := c.blobs.Blob(id)
	if bytes.Contains(data, []byte("evil")) {
		time.Sleep(500 * time.Millisecond)
	}
	return data, err
}

// TestHeldFilesAreBounded: a stranger's manifests are read only for messages, so
// that what is trusted does not wait for them.
func TestHeldFilesAreBounded(t *testing.T) {
	w, _ := renderScene(t)
	w.commit(w.ada, overlay)
	w.sync()
	w.tracker.blobs = costly{w.tracker.blobs}
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("x/%d.yaml", i)] = cm(fmt.Sprintf("evil-%d", i), "1")
	}
	w.commit(w.alien, files)
	good := w.commit(w.ada, map[string]string{"plain/p.yaml": cm("p", "2")})
	start := time.Now()
	s := w.sync()
	w.want(s, "p", good)
	if took := time.Since(start); took > 12*time.Second {
		t.Errorf("a stranger's push holds the index up for %v", took)
	}
}

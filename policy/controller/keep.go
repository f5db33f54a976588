package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gitward/gitward/gitindex"
)

// keptFile is the file of what is in force at one place, so that after a restart the
// last good policies are there, whatever Git holds by then.
type keptFile struct {
	Place    Place
	Revision string
	Version  version
	// Refused is the newest state that failed, which is not to pass after a restart
	// for want of the requests that it failed at.
	Refused, RefusedAt string
	Problems           []gitindex.Problem
}

var errNotKept = errors.New("nothing is kept")

func (c *Controller) file(place Place) string {
	sum := sha256.Sum256([]byte(place.String()))
	return filepath.Join(c.Dir, hex.EncodeToString(sum[:16])+".json")
}

// keep writes what is known of a place, once something good is.
func (c *Controller) keep(place Place) {
	c.mu.Lock()
	s := *c.states[place]
	c.mu.Unlock()
	if c.Dir == "" || s.active == nil {
		return
	}
	if err := c.write(place, keptFile{place, s.revision, *s.active, s.refused, s.refusedAt, s.problems}); err != nil {
		c.Log.Error("policies could not be kept on disk", "policies", place.String(), "error", err)
	}
}

func (c *Controller) write(place Place, k keptFile) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.Dir, ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.file(place))
}

func (c *Controller) kept(place Place) (*keptFile, error) {
	if c.Dir == "" {
		return nil, errNotKept
	}
	text, err := os.ReadFile(c.file(place))
	if err != nil {
		return nil, errNotKept
	}
	var k keptFile
	if err := json.Unmarshal(text, &k); err != nil || k.Place != place || k.Version.Digest != digest(k.Version.Files) {
		return nil, fmt.Errorf("what is kept of %s is damaged: %w", place, errNotKept)
	}
	return &k, nil
}

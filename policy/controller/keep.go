package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// kept is the file of what is in force at one place, so that after a restart the
// last good policies are there, whatever Git holds by then.
type keptFile struct {
	Place    Place
	Revision string
	Version  version
}

var errNotKept = errors.New("nothing is kept")

func (c *Controller) file(place Place) string {
	sum := sha256.Sum256([]byte(place.String()))
	return filepath.Join(c.Dir, hex.EncodeToString(sum[:16])+".json")
}

func (c *Controller) keep(place Place, revision string, v *version) error {
	if c.Dir == "" {
		return nil
	}
	text, err := json.Marshal(keptFile{place, revision, *v})
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

func (c *Controller) kept(place Place) (*version, string, error) {
	if c.Dir == "" {
		return nil, "", errNotKept
	}
	text, err := os.ReadFile(c.file(place))
	if err != nil {
		return nil, "", errNotKept
	}
	var k keptFile
	if err := json.Unmarshal(text, &k); err != nil || k.Place != place || k.Version.Digest != digest(k.Version.Files) {
		return nil, "", fmt.Errorf("what is kept of %s is damaged: %w", place, errNotKept)
	}
	return &k.Version, k.Revision, nil
}

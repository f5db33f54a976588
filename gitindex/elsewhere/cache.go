package elsewhere

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cache keeps content under its digest in a directory of its own. What it gives
// has the digest that was asked for, whatever became of the disk.
type Cache struct {
	Dir   string
	Bytes int64 // in all; 0 means 1 GiB. The oldest unused goes first.
	mu    sync.Mutex
}

// read gives the content of a digest; none if it is not there, or is not whole.
func (c *Cache) read(digest string) ([]byte, bool) {
	if c == nil || !sha256Digest.MatchString(digest) {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := c.path(digest)
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, false
	}
	if digestOf(data) != digest {
		_ = os.Remove(name) // it will be fetched again
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // no more than a hint for evict
	return data, true
}

// readBeside gives what was kept beside a digest's content. It has no digest of
// its own: whoever reads it has to check it.
func (c *Cache) readBeside(digest, what string) ([]byte, bool) {
	if c == nil || !sha256Digest.MatchString(digest) {
		return nil, false
	}
	data, err := os.ReadFile(c.path(digest) + "." + what)
	return data, err == nil
}

func (c *Cache) path(digest string) string {
	return filepath.Join(c.Dir, strings.Replace(digest, ":", "-", 1))
}

// write keeps content, whole or not at all.
func (c *Cache) write(digest string, data []byte) error {
	if c == nil {
		return nil
	}
	return c.keep(c.path(digest), data)
}

func (c *Cache) writeBeside(digest, what string, data []byte) error {
	if c == nil {
		return nil
	}
	return c.keep(c.path(digest)+"."+what, data)
}

func (c *Cache) keep(name string, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("keeping what was fetched: %w", err)
	}
	f, err := os.CreateTemp(c.Dir, "new-")
	if err != nil {
		return fmt.Errorf("keeping what was fetched: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("keeping what was fetched: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return c.evict(name)
}

// evict removes what was unused the longest, but never what was just written,
// and what a write that was interrupted has left.
func (c *Cache) evict(but string) error {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return err
	}
	var all []os.FileInfo
	total := int64(0)
	for _, e := range entries {
		i, err := e.Info()
		if err != nil || !i.Mode().IsRegular() {
			continue // gone meanwhile
		}
		if strings.HasPrefix(i.Name(), "new-") && time.Since(i.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(c.Dir, i.Name()))
			continue
		}
		total += i.Size()
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, i := range all {
		name := filepath.Join(c.Dir, i.Name())
		if total <= or(c.Bytes, 1<<30) || name == but {
			continue
		}
		if err := os.Remove(name); err == nil {
			total -= i.Size()
		}
	}
	return nil
}

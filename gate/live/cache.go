// Package live answers: what is in the cluster now that others are derived from?
// It watches owners, keeps of each only what a decision needs (who it is, whom
// it stems from, and the template that its controller copies), and never a
// value that could be confidential: everything but templates is watched as
// metadata.
package live

import (
	"fmt"
	"sync"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// Cache implements gate.Live. Its objects are immutable. The zero value is empty
// and ready for use.
type Cache struct {
	mu    sync.RWMutex
	byUID map[string]*gate.LiveObject
	byRef map[gitindex.Ref]*gate.LiveObject
	next  chan struct{}

	waiting map[string]bool // kinds whose first list is still to come
}

var _ gate.Live = (*Cache)(nil)

// Object finds a live object by its uid; nil when it is not known.
func (c *Cache) Object(uid string) *gate.LiveObject {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byUID[uid]
}

// Find finds a live object by its name.
func (c *Cache) Find(ref gitindex.Ref) *gate.LiveObject {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byRef[ref]
}

// Changed is closed at the next change of anything.
func (c *Cache) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

// Len is the number of objects.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byUID)
}

// Ready says which kinds have not been listed yet; nil when all have.
func (c *Cache) Ready() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for kind := range c.waiting {
		return fmt.Errorf("the %s of the cluster have not been listed yet", kind)
	}
	return nil
}

func (c *Cache) expect(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[string]bool{}
	}
	c.waiting[kind] = true
}

// put takes in an object as it is now.
func (c *Cache) put(o *gate.LiveObject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(o)
	c.tellLocked()
}

func (c *Cache) putLocked(o *gate.LiveObject) {
	if c.byUID == nil {
		c.byUID, c.byRef = map[string]*gate.LiveObject{}, map[gitindex.Ref]*gate.LiveObject{}
	}
	if before := c.byRef[o.Ref]; before != nil && before.UID != o.UID {
		delete(c.byUID, before.UID) // its deletion was missed
	}
	c.byUID[o.UID], c.byRef[o.Ref] = o, o
}

// drop forgets an object at once: nothing may be derived from one that is gone.
func (c *Cache) drop(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(uid)
	c.tellLocked()
}

func (c *Cache) dropLocked(uid string) {
	o := c.byUID[uid]
	if o == nil {
		return
	}
	delete(c.byUID, uid)
	if c.byRef[o.Ref] == o {
		delete(c.byRef, o.Ref)
	}
}

// replace makes list all that there is of a kind.
func (c *Cache) replace(kind string, list []*gate.LiveObject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stays := make(map[string]bool, len(list))
	for _, o := range list {
		stays[o.UID] = true
	}
	for uid, o := range c.byUID {
		if o.Ref.GroupKind() == kind && !stays[uid] {
			c.dropLocked(uid)
		}
	}
	for _, o := range list {
		c.putLocked(o)
	}
	delete(c.waiting, kind)
	c.tellLocked()
}

// forget drops a kind that is no longer watched.
func (c *Cache) forget(kind string) { c.replace(kind, nil) }

func (c *Cache) tellLocked() {
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

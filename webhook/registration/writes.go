package registration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

const (
	// openAtOnce bounds the watches that are being opened: a gap must not become
	// a load on the API server. Once open, they cost it little.
	openAtOnce = 8
	// longestFinish bounds the wait for an API server that does not answer.
	longestFinish = time.Minute
)

// collector names what is written to the cluster from a version on. It asks for
// metadata alone, so no value of any Secret reaches it.
type collector struct {
	*run
	start   string
	opening chan struct{}
	ended   chan struct{} // closed once end is known
	end     uint64
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	watched map[schema.GroupVersionResource]bool
	writes  []Write
	more    int
	notes   []string
	lacking map[string][]string // kinds, by what is wrong with them
}

// collect begins with all that can be watched.
func (r *run) collect(ctx context.Context, start string) *collector {
	c := &collector{run: r, start: start, opening: make(chan struct{}, openAtOnce), ended: make(chan struct{}),
		watched: map[schema.GroupVersionResource]bool{}, lacking: map[string][]string{}}
	ctx, c.cancel = context.WithCancel(ctx)
	c.work.Go(func() { c.watchAll(ctx) })
	return c
}

// finish waits until all writes up to end are known, and returns them in order.
// What has the version restored is the restoration itself.
func (c *collector) finish(ctx context.Context, end, restored string) ([]Write, int, string) {
	c.end = number(end)
	close(c.ended)
	late := time.AfterFunc(longestFinish, func() {
		c.note("the API server did not answer in time")
		c.cancel()
	})
	defer late.Stop()
	// A kind may have been defined in the gap, and objects of it written.
	c.work.Go(func() { c.watchAll(ctx) })
	c.work.Wait()
	c.cancel()
	if ctx.Err() != nil {
		c.note("Gitward was stopped before all were known")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	writes := slices.DeleteFunc(c.writes, func(w Write) bool {
		return number(w.ResourceVersion) > c.end || w.ResourceVersion == restored
	})
	slices.SortFunc(writes, func(a, b Write) int { return compare(a.ResourceVersion, b.ResourceVersion) })
	for why, kinds := range c.lacking {
		slices.Sort(kinds)
		c.notes = append(c.notes, why+": "+strings.Join(kinds, ", "))
	}
	slices.Sort(c.notes)
	return writes, c.more, strings.Join(c.notes, "; ")
}

func compare(a, b string) int {
	switch x, y := number(a), number(b); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// watchAll watches every kind that is not watched yet.
func (c *collector) watchAll(ctx context.Context) {
	lists, err := discovery.ServerPreferredResources(c.discovery)
	if err != nil {
		c.note(fmt.Sprintf("not all kinds are known: %v", err))
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, resource := range list.APIResources {
			if watchable(gv.Group, &resource) {
				c.begin(ctx, gv.WithResource(resource.Name), gv.WithKind(resource.Kind))
			}
		}
	}
}

// watchable leaves out what is written all the time and says nothing.
func watchable(group string, r *metav1.APIResource) bool {
	if r.Name == "events" || r.Name == "leases" && group == "coordination.k8s.io" {
		return false
	}
	return !strings.Contains(r.Name, "/") && slices.Contains(r.Verbs, "watch") && slices.Contains(r.Verbs, "list")
}

func (c *collector) begin(ctx context.Context, gvr schema.GroupVersionResource, gvk schema.GroupVersionKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched[gvr] {
		return
	}
	c.watched[gvr] = true
	c.work.Go(func() { (&tail{collector: c, gvr: gvr, gvk: gvk, version: c.start}).run(ctx) })
}

func (c *collector) note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.notes, text) {
		c.notes = append(c.notes, text)
	}
}

func (c *collector) lack(why string, kind schema.GroupVersionResource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := kind.GroupResource().String(); !slices.Contains(c.lacking[why], name) {
		c.lacking[why] = append(c.lacking[why], name)
	}
}

// add keeps a write, or counts it.
func (c *collector) add(w Write) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.writes) >= mostWrites {
		c.more++
		return
	}
	c.writes = append(c.writes, w)
}

// managers are the field managers of an object, the latest first.
func managers(o metav1.Object) []string {
	entries := slices.Clone(o.GetManagedFields())
	slices.SortStableFunc(entries, func(a, b metav1.ManagedFieldsEntry) int {
		if a.Time == nil || b.Time == nil {
			return 0
		}
		return b.Time.Compare(a.Time.Time)
	})
	var out []string
	for _, e := range entries {
		if !slices.Contains(out, e.Manager) {
			out = append(out, e.Manager)
		}
	}
	return out
}

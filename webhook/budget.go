package webhook

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Budget bounds the bytes of all reviews that are in memory at once, so that a
// flood of large ones ends in refusals to try again and not in an end of the
// process.
type Budget struct {
	size int64
	sem  *semaphore.Weighted
}

// NewBudget allows reviews of size bytes in total.
func NewBudget(size int64) *Budget { return &Budget{size: size, sem: semaphore.NewWeighted(size)} }

// acquire waits for room, as long as ctx lasts. A body of unknown length counts
// as the largest that is read.
func (b *Budget) acquire(ctx context.Context, length int64) (release func(), ok bool) {
	if b == nil {
		return func() {}, true
	}
	if length < 0 || length > MaxBody {
		length = MaxBody
	}
	length = min(length, b.size)
	if b.sem.Acquire(ctx, length) != nil {
		return nil, false
	}
	return func() { b.sem.Release(length) }, true
}

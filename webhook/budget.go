package webhook

import "golang.org/x/sync/semaphore"

// Budget bounds the bytes of all reviews that are in memory at once, so that a
// flood of large ones ends in refusals to try again and not in an end of the
// process. Bytes are paid for as they arrive: who announces much and sends
// nothing takes nothing. Small reviews, which are nearly all there are, have a
// part of their own that large ones cannot take from them.
type Budget struct {
	large, small *semaphore.Weighted
}

const (
	step  = 256 << 10 // bytes paid for at a time
	spark = step      // a review up to this size is a small one
)

// NewBudget allows reviews of size bytes in total, an eighth of it for small
// ones alone.
func NewBudget(size int64) *Budget {
	return &Budget{large: semaphore.NewWeighted(size - size/8), small: semaphore.NewWeighted(size / 8)}
}

// intake is what was read of a review.
type intake struct {
	data    []byte
	more    bool // there was more than is read
	broke   bool // it ended early
	late    bool // it did not come in time
	crowded bool // there was no room for it
	release func()
}

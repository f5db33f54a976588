package webhook

import (
	"bytes"
	"context"
	"io"

	"golang.org/x/sync/semaphore"
)

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
	crowded bool // there was no room for it
	release func()
}

// read takes a body in, at most limit bytes of it, as long as ctx lasts.
func (b *Budget) read(ctx context.Context, r io.Reader, limit int64) intake {
	var buf bytes.Buffer
	var paid int64
	out := intake{release: func() {}}
	if b != nil {
		out.release = func() {
			b.small.Release(min(paid, spark))
			b.large.Release(max(paid-spark, 0))
		}
	}
	for {
		if b != nil {
			pool := b.large
			if paid < spark {
				pool = b.small
			}
			if pool.Acquire(ctx, step) != nil {
				out.data, out.crowded = buf.Bytes(), true
				return out
			}
			paid += step
		}
		n, err := buf.ReadFrom(io.LimitReader(r, min(step, limit+1-int64(buf.Len()))))
		out.data = buf.Bytes()
		switch {
		case err != nil:
			out.broke = true
			return out
		case int64(buf.Len()) > limit:
			out.more = true
			return out
		case n < step:
			return out
		}
	}
}

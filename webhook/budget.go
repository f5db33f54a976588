package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

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
	late    bool // it did not come in time
	crowded bool // there was no room for it
	release func()
}

const (
	part  = 64 << 10        // of a body, or what is left of it, which has to arrive
	stall = 2 * time.Second // within this
)

// arrival is a body that has to keep coming: the API server sends it in one go,
// and who sends it drop by drop wants to hold room and connections.
type arrival struct {
	body     io.Reader
	until    func(time.Time) error
	end, due time.Time // of the whole, and of this part
	left     int
}

// newArrival bounds a body by its parts, and as a whole by what the API server
// waits for. Where deadlines are not to be had (a test's recorder) the server's
// hold.
func newArrival(w http.ResponseWriter, body io.Reader, end time.Time) *arrival {
	return &arrival{body: body, until: http.NewResponseController(w).SetReadDeadline, end: end}
}

// Read waits for the next bytes no longer than their part may take.
func (a *arrival) Read(p []byte) (int, error) {
	if a.left <= 0 {
		a.left, a.due = part, time.Now().Add(stall)
	}
	_ = a.until(earlier(a.due, a.end))
	n, err := a.body.Read(p)
	a.left -= n
	if errors.Is(err, io.EOF) {
		// The server watches the connection while the review is decided, which may
		// take longer than a part of the body.
		_ = a.until(a.end)
	}
	return n, err
}

// held leaves out of account what the body was kept waiting for room.
func (a *arrival) held(d time.Duration) { a.due = a.due.Add(d) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// take takes a body in, at most limit bytes of it, as long as ctx lasts. Room is
// taken for what has arrived; what waits for room is no more than that again.
func (b *Budget) take(ctx context.Context, body *arrival, limit int) intake {
	const first = 4 << 10
	paid, out := 0, intake{data: make([]byte, 0, first), release: func() {}}
	if b != nil {
		out.release = func() {
			b.small.Release(int64(min(paid, spark)))
			b.large.Release(int64(max(paid-spark, 0)))
		}
	}
	for {
		if len(out.data) == cap(out.data) {
			out.data = append(out.data, 0)[:len(out.data)] // as io.ReadAll grows
		}
		n, err := body.Read(out.data[len(out.data):min(cap(out.data), len(out.data)+step, limit+1)])
		out.data = out.data[:len(out.data)+n]
		began := time.Now()
		if b != nil && !b.pay(ctx, &paid, n) {
			out.crowded = true
			return out
		}
		body.held(time.Since(began))
		switch {
		case len(out.data) > limit:
			out.more = true
			return out
		case errors.Is(err, io.EOF):
			return out
		case errors.Is(err, os.ErrDeadlineExceeded):
			out.late = true
			return out
		case err != nil:
			out.broke = true
			return out
		}
	}
}

// pay takes room for n bytes more: small ones' up to a spark, then large ones'.
func (b *Budget) pay(ctx context.Context, paid *int, n int) bool {
	for n > 0 {
		pool, now := b.large, n
		if *paid < spark {
			pool, now = b.small, min(n, spark-*paid)
		}
		if pool.Acquire(ctx, int64(now)) != nil {
			return false
		}
		*paid += now
		n -= now
	}
	return true
}

package gitrepo

import (
	"errors"
	"fmt"
	"io"
)

// Limits bound what a server may make us do. A zero field means its default.
type Limits struct {
	PackBytes     int64 // one pack on the wire and on disk
	Objects       int64 // in one pack
	ObjectBytes   int64 // one object, unpacked
	InflatedBytes int64 // all objects of one pack together, unpacked
	DeltaDepth    int64 // the longest chain of deltas in a pack
	BlobBytes     int64 // one file that Blob hands out
	Refs          int64 // refs that a server may advertise
	Commits       int64 // first-parent steps of one Walk
}

// DefaultLimits fit a busy monorepo: argo-cd with its whole history is 0.11
// GiB in 129,000 objects that unpack to 3.6 GiB.
func DefaultLimits() Limits {
	return Limits{
		PackBytes:     2 << 30,
		Objects:       4_000_000,
		ObjectBytes:   128 << 20,
		InflatedBytes: 64 << 30,
		DeltaDepth:    512,
		BlobBytes:     8 << 20,
		Refs:          200_000,
		Commits:       1_000_000,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ have, def *int64 }{
		{&l.PackBytes, &d.PackBytes}, {&l.Objects, &d.Objects}, {&l.ObjectBytes, &d.ObjectBytes},
		{&l.InflatedBytes, &d.InflatedBytes}, {&l.DeltaDepth, &d.DeltaDepth},
		{&l.BlobBytes, &d.BlobBytes}, {&l.Refs, &d.Refs}, {&l.Commits, &d.Commits},
	} {
		if *f.have == 0 {
			*f.have = *f.def
		}
	}
	return l
}

var (
	// ErrTooLarge: something exceeds one of the Limits.
	ErrTooLarge = errors.New("too large")
	// ErrMalformedPack: the server sent a pack that does not parse.
	ErrMalformedPack = errors.New("malformed pack")
	// ErrMissing: an object that others refer to is not here.
	ErrMissing = errors.New("object is missing")
	// ErrNoRef: the remote has no such ref, or is empty.
	ErrNoRef = errors.New("no such ref")
	// ErrRefused: the remote or its credentials are not acceptable; nothing was sent.
	ErrRefused = errors.New("refused")
	// ErrDenied: the server does not let us in.
	ErrDenied = errors.New("the server denied access")
	// ErrUnsupported: the repository uses a format that is not read here.
	ErrUnsupported = errors.New("unsupported repository format")
	// ErrCollision: an object carries the marks of a SHA-1 collision attack.
	ErrCollision = errors.New("SHA-1 collision attack detected")
)

// tooLarge says what exceeds which limit.
func tooLarge(what string, size, limit int64) error {
	return fmt.Errorf("%w: %s %d, the limit is %d", ErrTooLarge, what, size, limit)
}

// cappedWriter refuses what goes past its limit before writing it.
type cappedWriter struct {
	w           io.Writer
	left, limit int64
}

func (c *cappedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		return 0, tooLarge("pack bytes: more than", c.limit, c.limit)
	}
	c.left -= int64(len(p))
	return c.w.Write(p)
}

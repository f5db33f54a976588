package gitrepo

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/pjbgf/sha1cd"

	"github.com/gitward/gitward/gitindex/object"
)

// kind is an object's type as a pack writes it.
type kind uint8

const (
	kindCommit   kind = 1
	kindTree     kind = 2
	kindBlob     kind = 3
	kindTag      kind = 4
	kindOfsDelta kind = 6
	kindRefDelta kind = 7
)

func (k kind) String() string {
	switch k {
	case kindCommit:
		return "commit"
	case kindTree:
		return "tree"
	case kindBlob:
		return "blob"
	case kindTag:
		return "tag"
	}
	return "object of kind " + strconv.Itoa(int(k))
}

func (k kind) isDelta() bool { return k == kindOfsDelta || k == kindRefDelta }

// packEntry is what one look over a pack tells of one object in it.
type packEntry struct {
	off    int64 // where it begins
	data   int64 // where its compressed data begins
	size   int64 // of the unpacked object or delta
	result int64 // of the object, once a delta is applied
	base   int32 // the entry an offset delta builds on; -1 for any other
	depth  int32 // deltas down to the base
	crc    uint32
	kind   kind // as in the pack
	final  kind // of the object; 0 for a delta that is not resolved yet
	id     object.ID
}

// packScan is a pack that has been looked over once, from end to end, without
// holding more than one buffer of it. It has kept to the limits; the objects
// that stand in it whole have their id.
type packScan struct {
	entries []packEntry
	refs    map[int32]object.ID // bases of reference deltas, by entry
	sum     [20]byte
}

// prescan refuses a pack before anything is built from it: a pack of 756 KiB
// can unpack to gigabytes. It inflates each object to its declared size and no
// further, and adds up what the deltas would yield.
func prescan(ctx context.Context, r io.Reader, limits Limits) (*packScan, error) {
	s := &scanner{in: newPackStream(r), limits: limits, hash: newIDHash(), out: &packScan{refs: map[int32]object.ID{}}}
	count, err := s.header()
	if err != nil {
		return nil, err
	}
	for i := range count {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := s.entry(); err != nil {
			return nil, fmt.Errorf("object %d of %d: %w", i+1, count, err)
		}
	}
	return s.out, s.trailer()
}

type scanner struct {
	in       *packStream
	limits   Limits
	out      *packScan
	inflated int64
	zlib     inflater
	hash     sha1cd.CollisionResistantHash
	buf      [32 << 10]byte
}

func (s *scanner) header() (int64, error) {
	var head [12]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return 0, badPack(err, "header")
	}
	if string(head[:4]) != "PACK" {
		return 0, fmt.Errorf("%w: no PACK signature", ErrMalformedPack)
	}
	if v := binary.BigEndian.Uint32(head[4:]); v != 2 {
		return 0, fmt.Errorf("%w: version %d", ErrMalformedPack, v)
	}
	count := int64(binary.BigEndian.Uint32(head[8:]))
	if count > s.limits.Objects {
		return 0, tooLarge("objects in one pack:", count, s.limits.Objects)
	}
	return count, nil
}

func (s *scanner) entry() error {
	e := packEntry{off: s.in.off, base: -1}
	s.in.crc = 0
	var err error
	if e.kind, e.size, err = readEntryHeader(s.in); err != nil {
		return err
	}
	if e.size > s.limits.ObjectBytes {
		return tooLarge("bytes of one object:", e.size, s.limits.ObjectBytes)
	}
	if err := s.base(&e); err != nil {
		return err
	}
	e.data = s.in.off
	if err := s.content(&e); err != nil {
		return err
	}
	e.crc = s.in.sumCRC()
	s.out.entries = append(s.out.entries, e)
	return nil
}

// base reads what an entry builds on.
func (s *scanner) base(e *packEntry) error {
	switch e.kind {
	case kindCommit, kindTree, kindBlob, kindTag:
		e.final = e.kind
	case kindOfsDelta:
		back, err := readBackOffset(s.in)
		if err != nil {
			return err
		}
		if e.base = s.out.at(e.off - back); back <= 0 || e.base < 0 {
			return fmt.Errorf("%w: delta base at no object", ErrMalformedPack)
		}
		if e.depth = s.out.entries[e.base].depth + 1; int64(e.depth) > s.limits.DeltaDepth {
			return tooLarge("deltas in one chain:", int64(e.depth), s.limits.DeltaDepth)
		}
	case kindRefDelta:
		var id object.ID
		if _, err := io.ReadFull(s.in, id[:]); err != nil {
			return badPack(err, "delta base")
		}
		s.out.refs[int32(len(s.out.entries))] = id
	default:
		return fmt.Errorf("%w: object of kind %d", ErrMalformedPack, e.kind)
	}
	return nil
}

// content inflates an entry: to hash it if it is whole, to learn the size of
// its result if it is a delta.
func (s *scanner) content(e *packEntry) error {
	if err := s.charge(e.size); err != nil {
		return err
	}
	if err := s.zlib.reset(s.in); err != nil {
		return badPack(err, "compressed data")
	}
	if !e.kind.isDelta() {
		s.hash.Reset()
		s.hash.Write(objectHeader(e.kind, e.size))
	}
	for left := e.size; left > 0; {
		n, err := io.ReadFull(&s.zlib, s.buf[:min(left, int64(len(s.buf)))])
		if err != nil {
			return badPack(err, "compressed data")
		}
		if e.kind.isDelta() {
			if left == e.size {
				if e.result, err = deltaResult(s.buf[:n]); err != nil {
					return err
				}
			}
		} else {
			s.hash.Write(s.buf[:n])
		}
		left -= int64(n)
	}
	if err := s.zlib.finish(); err != nil {
		return err
	}
	if e.kind.isDelta() {
		if e.result > s.limits.ObjectBytes {
			return tooLarge("bytes of one object:", e.result, s.limits.ObjectBytes)
		}
		if e.size == 0 {
			return fmt.Errorf("%w: empty delta", ErrMalformedPack)
		}
		return s.charge(e.result)
	}
	e.result = e.size
	return sumID(s.hash, &e.id)
}

func (s *scanner) charge(n int64) error {
	if s.inflated += n; s.inflated > s.limits.InflatedBytes {
		return tooLarge("unpacked bytes of one pack: at least", s.inflated, s.limits.InflatedBytes)
	}
	return nil
}

func (s *scanner) trailer() error {
	want := s.in.sumSHA1()
	if _, err := io.ReadFull(s.in, s.out.sum[:]); err != nil {
		return badPack(err, "trailer")
	}
	if !bytes.Equal(want, s.out.sum[:]) {
		return fmt.Errorf("%w: checksum does not fit", ErrMalformedPack)
	}
	if _, err := s.in.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: bytes after the end", ErrMalformedPack)
	}
	return nil
}

// at finds the entry that begins at an offset, or -1.
func (p *packScan) at(off int64) int32 {
	lo, hi := 0, len(p.entries)
	for lo < hi {
		mid := (lo + hi) / 2
		if p.entries[mid].off < off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(p.entries) || p.entries[lo].off != off {
		return -1
	}
	return int32(lo)
}

func badPack(err error, where string) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %s: %w", ErrMalformedPack, where, err)
}

// objectHeader is what git hashes before the content.
func objectHeader(k kind, size int64) []byte {
	return append(strconv.AppendInt(append([]byte(k.String()), ' '), size, 10), 0)
}

func newIDHash() sha1cd.CollisionResistantHash { return sha1cd.New().(sha1cd.CollisionResistantHash) }

// sumID closes a hash, and refuses content made to collide: sha1cd would give
// it another id, so that it would merely seem to be missing.
func sumID(sum sha1cd.CollisionResistantHash, id *object.ID) error {
	digest, collision := sum.CollisionResistantSum(nil)
	if collision {
		return fmt.Errorf("%w: %w", ErrMalformedPack, ErrCollision)
	}
	copy(id[:], digest)
	return nil
}

// readEntryHeader reads kind and size in the form packs use: 4 bits of size in
// the first byte, 7 in each further one.
func readEntryHeader(r io.ByteReader) (kind, int64, error) {
	c, err := r.ReadByte()
	if err != nil {
		return 0, 0, badPack(err, "object header")
	}
	k, size := kind(c>>4&7), int64(c&15)
	for shift := 4; c&0x80 != 0; shift += 7 {
		if shift > 53 {
			return 0, 0, fmt.Errorf("%w: object size out of range", ErrMalformedPack)
		}
		if c, err = r.ReadByte(); err != nil {
			return 0, 0, badPack(err, "object header")
		}
		size |= int64(c&0x7f) << shift
	}
	return k, size, nil
}

// readBackOffset reads how far before a delta its base begins.
func readBackOffset(r io.ByteReader) (int64, error) {
	c, err := r.ReadByte()
	if err != nil {
		return 0, badPack(err, "delta base")
	}
	off := int64(c & 0x7f)
	for c&0x80 != 0 {
		if off > 1<<48 {
			return 0, fmt.Errorf("%w: delta base out of range", ErrMalformedPack)
		}
		if c, err = r.ReadByte(); err != nil {
			return 0, badPack(err, "delta base")
		}
		off = (off+1)<<7 | int64(c&0x7f)
	}
	return off, nil
}

// deltaResult reads the size of a delta's result off its first bytes.
func deltaResult(delta []byte) (int64, error) {
	_, n := deltaSize(delta)
	if n == 0 {
		return 0, fmt.Errorf("%w: delta header", ErrMalformedPack)
	}
	size, n := deltaSize(delta[n:])
	if n == 0 {
		return 0, fmt.Errorf("%w: delta header", ErrMalformedPack)
	}
	return size, nil
}

// deltaSize reads one size of a delta's header; n is 0 if there is none.
func deltaSize(delta []byte) (size int64, n int) {
	for i, c := range delta {
		if i == 8 {
			break
		}
		size |= int64(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			return size, i + 1
		}
	}
	return 0, 0
}

// inflater is one zlib reader used again and again.
type inflater struct {
	r io.ReadCloser
}

func (z *inflater) reset(src io.Reader) (err error) {
	if z.r == nil {
		z.r, err = zlib.NewReader(src)
		return err
	}
	return z.r.(zlib.Resetter).Reset(src, nil)
}

func (z *inflater) Read(p []byte) (int, error) { return z.r.Read(p) }

// finish wants the stream to end here, checksum and all.
func (z *inflater) finish() error {
	var one [1]byte
	switch n, err := z.r.Read(one[:]); {
	case n > 0:
		return fmt.Errorf("%w: object is longer than it says", ErrMalformedPack)
	case err != io.EOF:
		return badPack(err, "compressed data")
	}
	return nil
}

// packStream counts and sums what is consumed of a pack. It is a ByteReader,
// so that inflating takes no byte beyond its own.
type packStream struct {
	r    *bufio.Reader
	off  int64
	crc  uint32
	sha  hash.Hash
	pend []byte // consumed, not yet summed
}

func newPackStream(r io.Reader) *packStream {
	// The trailer guards against accidents only, so plain SHA-1 does; object ids
	// are computed with collision detection.
	return &packStream{r: bufio.NewReaderSize(r, 128<<10), sha: sha1.New(), pend: make([]byte, 0, 4096)}
}

func (s *packStream) flush() {
	s.crc = crc32.Update(s.crc, crc32.IEEETable, s.pend)
	s.sha.Write(s.pend)
	s.pend = s.pend[:0]
}

func (s *packStream) ReadByte() (byte, error) {
	c, err := s.r.ReadByte()
	if err != nil {
		return 0, err
	}
	s.off++
	if s.pend = append(s.pend, c); len(s.pend) == cap(s.pend) {
		s.flush()
	}
	return c, nil
}

func (s *packStream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.off += int64(n)
	s.flush()
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p[:n])
	s.sha.Write(p[:n])
	return n, err
}

func (s *packStream) sumCRC() uint32 { s.flush(); return s.crc }

func (s *packStream) sumSHA1() []byte { s.flush(); return s.sha.Sum(nil) }

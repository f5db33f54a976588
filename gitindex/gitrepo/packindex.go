package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/pjbgf/sha1cd"

	"github.com/gitward/gitward/gitindex/object"
)

// indexPack scans a received pack and computes the id of every object in it.
// The result is a pack index as git writes it, version 2.
func indexPack(ctx context.Context, file *os.File, limits Limits) (*packIndex, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	scan, err := prescan(ctx, file, limits)
	if err != nil {
		return nil, err
	}
	r := &resolver{scan: scan, file: &pack{file: file}, limits: limits, hash: newIDHash()}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return newPackIndex(scan), nil
}

// resolver applies the deltas of a scanned pack, base before delta, to learn
// the ids of their results.
type resolver struct {
	scan     *packScan
	file     *pack // for its pages only
	limits   Limits
	hash     sha1cd.CollisionResistantHash
	byOffset [][2]int32 // (base, delta), sorted
	byID     map[object.ID][]int32
	resolved int
	zlib     inflater
	held     int64 // bytes of bases on the stack
}

// frame is one object whose deltas are being applied.
type frame struct {
	entry    int32
	data     []byte
	children []int32
}

func (r *resolver) run(ctx context.Context) error {
	deltas := r.collect()
	for i := range r.scan.entries {
		if r.scan.entries[i].kind.isDelta() {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.descend(ctx, int32(i)); err != nil {
			return err
		}
	}
	if r.resolved != deltas {
		return fmt.Errorf("%w: %d deltas have no base in the pack", ErrMalformedPack, deltas-r.resolved)
	}
	return nil
}

// collect turns "builds on" into "is built on by".
func (r *resolver) collect() (deltas int) {
	r.byID = map[object.ID][]int32{}
	for i := range r.scan.entries {
		e := &r.scan.entries[i]
		switch e.kind {
		case kindOfsDelta:
			r.byOffset = append(r.byOffset, [2]int32{e.base, int32(i)})
			deltas++
		case kindRefDelta:
			id := r.scan.refs[int32(i)]
			r.byID[id] = append(r.byID[id], int32(i))
			deltas++
		}
	}
	sort.Slice(r.byOffset, func(i, j int) bool {
		a, b := r.byOffset[i], r.byOffset[j]
		return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
	})
	return deltas
}

func (r *resolver) children(i int32) (out []int32) {
	at := sort.Search(len(r.byOffset), func(k int) bool { return r.byOffset[k][0] >= i })
	for ; at < len(r.byOffset) && r.byOffset[at][0] == i; at++ {
		out = append(out, r.byOffset[at][1])
	}
	id := r.scan.entries[i].id
	if waiting, ok := r.byID[id]; ok {
		out = append(out, waiting...)
		delete(r.byID, id) // once: the pack may hold the base twice
	}
	return out
}

// heldFactor times ObjectBytes is what the bases of one descent may occupy
// before the outer ones are dropped and unpacked again when they are needed.
const heldFactor = 2

// descend resolves all that is built on one whole object, depth first, with a
// stack of its own: a chain may be long.
func (r *resolver) descend(ctx context.Context, root int32) error {
	children := r.children(root)
	if len(children) == 0 {
		return nil
	}
	data, err := r.inflate(root)
	if err != nil {
		return err
	}
	stack := []frame{{entry: root, data: data, children: children}}
	r.held = int64(len(data))
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if len(top.children) == 0 {
			r.held -= int64(len(top.data))
			stack = stack[:len(stack)-1]
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if top.data == nil {
			if top.data, err = r.rebuild(stack); err != nil {
				return err
			}
		}
		child := top.children[len(top.children)-1]
		top.children = top.children[:len(top.children)-1]
		data, err := r.apply(child, top)
		if err != nil {
			return err
		}
		if children := r.children(child); len(children) > 0 {
			r.held += int64(len(data))
			stack = append(stack, frame{entry: child, data: data, children: children})
			r.relieve(stack)
		}
	}
	return nil
}

// apply resolves one delta on its base.
func (r *resolver) apply(child int32, base *frame) ([]byte, error) {
	e, b := &r.scan.entries[child], &r.scan.entries[base.entry]
	// Offset deltas have their depth from the scan, but one below a reference
	// delta learns it only here.
	if e.depth = b.depth + 1; int64(e.depth) > r.limits.DeltaDepth {
		return nil, tooLarge("deltas in one chain:", int64(e.depth), r.limits.DeltaDepth)
	}
	delta, err := r.inflate(child)
	if err != nil {
		return nil, err
	}
	data, err := applyDelta(base.data, delta, e.result)
	if err != nil {
		return nil, err
	}
	e.final = b.final
	r.hash.Reset()
	r.hash.Write(objectHeader(e.final, e.result))
	r.hash.Write(data)
	r.resolved++
	return data, sumID(r.hash, &e.id)
}

// relieve drops the outer bases when the stack holds too much.
func (r *resolver) relieve(stack []frame) {
	for i := 0; i < len(stack)-1 && r.held > heldFactor*r.limits.ObjectBytes; i++ {
		r.held -= int64(len(stack[i].data))
		stack[i].data = nil
	}
}

// rebuild unpacks the base on top of the stack once more, from the root down.
func (r *resolver) rebuild(stack []frame) ([]byte, error) {
	data, err := r.inflate(stack[0].entry)
	for i := 1; i < len(stack) && err == nil; i++ {
		var delta []byte
		if delta, err = r.inflate(stack[i].entry); err == nil {
			data, err = applyDelta(data, delta, r.scan.entries[stack[i].entry].result)
		}
	}
	r.held += int64(len(data))
	return data, err
}

func (r *resolver) inflate(i int32) ([]byte, error) {
	e := &r.scan.entries[i]
	end := int64(1) << 62
	if int(i)+1 < len(r.scan.entries) {
		end = r.scan.entries[i+1].off
	}
	return r.zlib.all(&section{r: r.file, off: e.data, end: end}, e.size)
}

// applyDelta builds an object of a known size from its base. Every reach of a
// copy is checked: deltas come from the server.
func applyDelta(base, delta []byte, result int64) ([]byte, error) {
	bad := func(what string) ([]byte, error) {
		return nil, fmt.Errorf("%w: delta: %s", ErrMalformedPack, what)
	}
	size, n := deltaSize(delta)
	if n == 0 || size != int64(len(base)) {
		return bad("made for another base")
	}
	delta = delta[n:]
	if size, n = deltaSize(delta); n == 0 || size != result {
		return bad("result size")
	}
	delta = delta[n:]
	out := make([]byte, 0, result)
	for len(delta) > 0 {
		op := delta[0]
		delta = delta[1:]
		if op&0x80 == 0 { // insert
			if op == 0 || int(op) > len(delta) || len(out)+int(op) > int(result) {
				return bad("insert out of range")
			}
			out = append(out, delta[:op]...)
			delta = delta[op:]
			continue
		}
		var off, length int
		for i := range 7 {
			if op&(1<<i) == 0 {
				continue
			}
			if len(delta) == 0 {
				return bad("truncated")
			}
			if i < 4 {
				off |= int(delta[0]) << (8 * i)
			} else {
				length |= int(delta[0]) << (8 * (i - 4))
			}
			delta = delta[1:]
		}
		if length == 0 {
			length = 0x10000
		}
		if off+length > len(base) || len(out)+length > int(result) {
			return bad("copy out of range")
		}
		out = append(out, base[off:off+length]...)
	}
	if int64(len(out)) != result {
		return bad("result is shorter than it says")
	}
	return out, nil
}

// packIndex is git's pack index version 2, as bytes: header, fan-out of 256
// counts, sorted ids, checksums, offsets, long offsets, two trailers. Looking
// up searches the bytes themselves.
type packIndex struct {
	raw []byte
	n   int
}

const (
	indexHead   = 8
	indexFanout = indexHead + 256*4
)

func newPackIndex(scan *packScan) *packIndex {
	order := make([]*packEntry, len(scan.entries))
	for i := range order {
		order[i] = &scan.entries[i]
	}
	sort.Slice(order, func(i, j int) bool {
		if c := bytes.Compare(order[i].id[:], order[j].id[:]); c != 0 {
			return c < 0
		}
		return order[i].off < order[j].off
	})
	raw := append(make([]byte, 0, indexFanout+len(order)*28+40), 0xff, 't', 'O', 'c', 0, 0, 0, 2)
	for b, at := 0, 0; b < 256; b++ {
		for at < len(order) && int(order[at].id[0]) <= b {
			at++
		}
		raw = binary.BigEndian.AppendUint32(raw, uint32(at))
	}
	for _, e := range order {
		raw = append(raw, e.id[:]...)
	}
	for _, e := range order {
		raw = binary.BigEndian.AppendUint32(raw, e.crc)
	}
	var long []byte
	for _, e := range order {
		if e.off < 1<<31 {
			raw = binary.BigEndian.AppendUint32(raw, uint32(e.off))
			continue
		}
		raw = binary.BigEndian.AppendUint32(raw, 1<<31|uint32(len(long)/8))
		long = binary.BigEndian.AppendUint64(long, uint64(e.off))
	}
	raw = append(append(raw, long...), scan.sum[:]...)
	sum := sha1.Sum(raw)
	return &packIndex{raw: append(raw, sum[:]...), n: len(order)}
}

// readPackIndex takes an index from disk. A damaged one is an error, and the
// pack is then indexed afresh.
func readPackIndex(raw []byte) (*packIndex, error) {
	if len(raw) < indexFanout+40 || !bytes.Equal(raw[:8], []byte{0xff, 't', 'O', 'c', 0, 0, 0, 2}) {
		return nil, fmt.Errorf("%w: not a pack index", ErrMalformedPack)
	}
	if sum := sha1.Sum(raw[:len(raw)-20]); !bytes.Equal(sum[:], raw[len(raw)-20:]) {
		return nil, fmt.Errorf("%w: index checksum does not fit", ErrMalformedPack)
	}
	p := &packIndex{raw: raw}
	p.n = p.fanout(255)
	if rest := len(raw) - indexFanout - 40 - p.n*28; p.n > len(raw)/28 || rest < 0 || rest%8 != 0 {
		return nil, fmt.Errorf("%w: index length does not fit", ErrMalformedPack)
	}
	return p, nil
}

func (p *packIndex) fanout(b int) int {
	return int(binary.BigEndian.Uint32(p.raw[indexHead+4*b:]))
}

func (p *packIndex) id(i int) []byte { return p.raw[indexFanout+20*i:][:20] }

// find gives the offset of an object in the pack.
func (p *packIndex) find(id object.ID) (int64, bool) {
	lo, hi := 0, p.fanout(int(id[0]))
	if id[0] > 0 {
		lo = p.fanout(int(id[0]) - 1)
	}
	if hi > p.n || lo > hi {
		return 0, false
	}
	at := lo + sort.Search(hi-lo, func(i int) bool { return bytes.Compare(p.id(lo+i), id[:]) >= 0 })
	if at == hi || !bytes.Equal(p.id(at), id[:]) {
		return 0, false
	}
	return p.offset(at), true
}

func (p *packIndex) offset(i int) int64 {
	offsets := indexFanout + 24*p.n
	off := binary.BigEndian.Uint32(p.raw[offsets+4*i:])
	if off>>31 == 0 {
		return int64(off)
	}
	at := offsets + 4*p.n + 8*int(off&^(1<<31))
	if at+8 > len(p.raw)-40 {
		return -1
	}
	return int64(binary.BigEndian.Uint64(p.raw[at:]))
}

func (p *packIndex) crc(i int) uint32 {
	return binary.BigEndian.Uint32(p.raw[indexFanout+20*p.n+4*i:])
}

// packSum is the trailer of the pack that the index belongs to.
func (p *packIndex) packSum() []byte { return p.raw[len(p.raw)-40 : len(p.raw)-20] }

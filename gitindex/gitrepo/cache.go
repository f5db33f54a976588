package gitrepo

import (
	"io"
)

// baseCache remembers unpacked objects that deltas build on, in two
// generations: when the young one is full it becomes the old one, and what is
// not asked for again goes away with it.
type baseCache struct {
	young, old map[baseKey]baseValue
	bytes      int
}

type baseKey struct {
	p   *pack
	off int64
}

type baseValue struct {
	kind kind
	data []byte
}

// baseBytes is the size of one generation.
const baseBytes = 32 << 20

func (c *baseCache) get(p *pack, off int64) (kind, []byte, bool) {
	key := baseKey{p, off}
	if v, ok := c.young[key]; ok {
		return v.kind, v.data, true
	}
	v, ok := c.old[key]
	if ok {
		c.put(p, off, v.kind, v.data)
	}
	return v.kind, v.data, ok
}

func (c *baseCache) put(p *pack, off int64, k kind, data []byte) {
	const overhead = 96 // of a map entry
	if len(data) > baseBytes/4 {
		return
	}
	if c.young == nil || c.bytes+len(data)+overhead > baseBytes {
		c.young, c.old, c.bytes = map[baseKey]baseValue{}, c.young, 0
	}
	c.young[baseKey{p, off}] = baseValue{k, data}
	c.bytes += len(data) + overhead
}

// pageCache keeps the last pages read of a pack: neighbouring objects are read
// together, and most are smaller than a page.
type pageCache struct {
	pages [64]*page
}

type page struct {
	at   int64
	data []byte
}

const pageBytes = 32 << 10

// page gives the bytes of a pack from off to the end of off's page.
func (p *pack) page(off int64) ([]byte, error) {
	at := off / pageBytes
	slot := &p.pages.pages[at%int64(len(p.pages.pages))]
	if *slot == nil || (*slot).at != at {
		buf := make([]byte, pageBytes)
		n, err := p.file.ReadAt(buf, at*pageBytes)
		if n == 0 && err != nil {
			return nil, err
		}
		*slot = &page{at: at, data: buf[:n]}
	}
	data := (*slot).data
	if from := off % pageBytes; from < int64(len(data)) {
		return data[from:], nil
	}
	return nil, io.EOF
}

// pager gives the bytes of a pack that follow an offset, as many as it likes.
type pager interface {
	page(off int64) ([]byte, error)
}

// section reads a part of a pack. It is a ByteReader, so that inflating puts
// no buffer in between.
type section struct {
	r        pager
	off, end int64
	have     []byte
}

func (s *section) fill() error {
	if len(s.have) > 0 {
		return nil
	}
	if s.off >= s.end || s.off < 0 {
		return io.EOF
	}
	have, err := s.r.page(s.off)
	if err != nil {
		return err
	}
	s.have = have[:min(int64(len(have)), s.end-s.off)]
	return nil
}

func (s *section) ReadByte() (byte, error) {
	if len(s.have) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	c := s.have[0]
	s.have = s.have[1:]
	s.off++
	return c, nil
}

func (s *section) Read(p []byte) (int, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.have)
	s.have = s.have[n:]
	s.off += int64(n)
	return n, nil
}

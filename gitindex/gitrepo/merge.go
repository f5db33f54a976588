package gitrepo

import (
	"crypto/sha1"
	"encoding/binary"
	"io"
	"os"
	"slices"

	"github.com/gitward/gitward/gitindex/object"
)

// maxPacks is how many packs there may be before the small ones become one:
// each fetch brings another, and each costs an open file and a look per search.
const maxPacks = 48

// mergePacks joins all packs but the largest. The bodies are copied end to end
// as they are, for an offset delta reaches back by a distance within its own
// body; nothing is unpacked or packed, and the cost is that of a copy.
func (s *store) mergePacks() error {
	if len(s.packs) <= maxPacks {
		return nil
	}
	largest := slices.MaxFunc(s.packs, func(a, b *pack) int { return int(a.size>>10) - int(b.size>>10) })
	var small []*pack
	var objects, bytes int64
	for _, p := range s.packs {
		if p != largest {
			small = append(small, p)
			objects, bytes = objects+int64(p.index.n), bytes+p.size
		}
	}
	// What is made here must still pass the limits if it is ever indexed again.
	if objects > s.limits.Objects || bytes > s.limits.PackBytes {
		return nil
	}
	file, err := s.tempPack()
	if err != nil {
		return err
	}
	defer func() {
		file.Close()
		os.Remove(file.Name())
	}()
	scan, err := join(file, small)
	if err != nil {
		return err
	}
	s.packs = []*pack{largest}
	s.bases = baseCache{}
	if err := s.addPack(file, newPackIndex(scan)); err != nil {
		s.packs = append(s.packs, small...)
		return err
	}
	for _, p := range small {
		p.remove()
	}
	return nil
}

// join writes one pack out of several, and lists what is in it.
func join(file io.Writer, packs []*pack) (*packScan, error) {
	sum := sha1.New()
	out := io.MultiWriter(file, sum)
	count := 0
	for _, p := range packs {
		count += p.index.n
	}
	if _, err := out.Write(binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(count))); err != nil {
		return nil, err
	}
	scan := &packScan{}
	seen := map[object.ID]bool{}
	at := int64(packHead)
	for _, p := range packs {
		body := io.NewSectionReader(p.file, packHead, p.size-packHead-packTail)
		if _, err := io.Copy(out, body); err != nil {
			return nil, err
		}
		for i := range p.index.n {
			e := packEntry{off: p.index.offset(i) - packHead + at, crc: p.index.crc(i), id: object.ID(p.index.id(i))}
			if !seen[e.id] {
				seen[e.id] = true
				scan.entries = append(scan.entries, e)
			}
		}
		at += body.Size()
	}
	copy(scan.sum[:], sum.Sum(nil))
	_, err := file.Write(scan.sum[:])
	return scan, err
}

// packHead and packTail are the bytes around a pack's body: signature, version
// and count before it, the checksum behind it.
const packHead, packTail = 12, 20

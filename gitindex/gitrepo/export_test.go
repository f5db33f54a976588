package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
)

// IndexBytes sends a pack through the pipeline that a fetch uses, and reads
// every object of it back.
func IndexBytes(dir string, data []byte, limits Limits) error {
	limits = limits.orDefault()
	file, err := os.CreateTemp(dir, "tmp_pack_")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := io.Copy(&cappedWriter{w: file, left: limits.PackBytes, limit: limits.PackBytes}, bytes.NewReader(data)); err != nil {
		return err
	}
	index, err := indexPack(context.Background(), file, limits)
	if err != nil {
		return err
	}
	again, err := readPackIndex(index.raw)
	if err != nil {
		return err
	}
	s := &store{limits: limits, packs: []*pack{{file: file, size: int64(len(data)), index: again}}}
	for i := range again.n {
		var id [20]byte
		copy(id[:], again.id(i))
		kind, raw, err := s.object(id)
		if err != nil {
			return err
		}
		h := newIDHash()
		h.Write(objectHeader(kind, int64(len(raw))))
		h.Write(raw)
		if !bytes.Equal(h.Sum(nil), id[:]) {
			return errors.New("read back another object")
		}
	}
	return nil
}

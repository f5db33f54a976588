package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// isArchive reports whether Extract takes a file (extract.go, isTarball).
func isArchive(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// extract unpacks an archive of the source below the destination, which is a
// directory whether a slash follows or not. What is taken and what is refused
// is as in github.com/fluxcd/pkg/tar v1.2.0, Untar, without its options: links
// and special files are refused; an entry without a type of its own is a file.
// The builder's check of the destination does not hold here, where it goes to
// the operating system; here it has to lie in the artifact like any other.
func (s step) extract(from string) error {
	to, err := place(strings.TrimLeft(s.To, "/"))
	if err != nil {
		return err
	}
	packed, err := s.source.read(from)
	if err == nil {
		err = s.makeDir(to)
	}
	if err == nil {
		err = s.unpack(packed, to)
	}
	if err != nil {
		return fmt.Errorf("extracting %q: %w", gitindex.Clean(from, 200), err)
	}
	return nil
}

// makeDir does not take a file for a directory, unlike the stage's mkdir.
func (s step) makeDir(name string) error {
	err := s.stage.mkdir(name)
	if err == nil && !s.stage.isDir(name) {
		err = fmt.Errorf("%q %w", gitindex.Clean(name, 200), errNoDirectory)
	}
	return err
}

// unpack reads no more than the budget has, whatever the archive says of itself:
// what it skips, names and padding, takes time too.
func (s step) unpack(packed []byte, to string) error {
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return errors.New("it is not gzipped")
	}
	archive := tar.NewReader(io.LimitReader(plain, int64(max(s.budget.bytes, 0))+maxFiles*1024))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("the archive is broken or too large")
		}
		if err := s.entry(header, archive, to); err != nil {
			return fmt.Errorf("%q: %w", gitindex.Clean(header.Name, 200), err)
		}
	}
}

func (s step) entry(header *tar.Header, content io.Reader, to string) error {
	if err := s.budget.look(1 + strings.Count(header.Name, "/")); err != nil {
		return err
	}
	name, err := entryName(header.Name, to)
	if err != nil {
		return err
	}
	switch mode := header.FileInfo().Mode(); {
	case mode.IsDir():
		return s.makeDir(name)
	case !mode.IsRegular():
		return errors.New("it is a link or a special file")
	}
	data, err := io.ReadAll(io.LimitReader(content, int64(max(s.budget.bytes, 0))+1))
	if err != nil {
		return errors.New("the archive is broken or too large")
	}
	if err := s.budget.read(len(data)); err != nil {
		return err
	}
	if int64(len(data)) != header.Size {
		return errors.New("it is not as long as it says")
	}
	return s.stage.put(name, &node{data: data, made: true})
}

// entryName refuses what Untar does (untar.go, validRelPath), and what is left
// of names that point upwards.
func entryName(raw, to string) (string, error) {
	if len(raw) > maxName {
		return "", errLongName
	}
	name := path.Join(to, raw)
	if raw == "" || strings.Contains(raw, `\`) || strings.HasPrefix(raw, "/") || strings.Contains(raw, "../") ||
		!fs.ValidPath(name) || to != "." && name != to && !strings.HasPrefix(name, to+"/") {
		return "", errors.New("it lies outside of the archive")
	}
	return name, nil
}

package elsewhere

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// layout is how an archive's names become a tree.
type layout string

const (
	// chartLayout is Helm's: everything lies in one directory, which is taken
	// off (helm.sh/helm/v4/pkg/chart/loader/archive, LoadArchiveFiles).
	chartLayout layout = "chart"
	// treeLayout is that of Flux artifacts: names are what they say.
	treeLayout layout = "tree"
)

// unpack reads a gzipped tar archive, however it was made, within the limits.
// Links and special files are refused: there is nothing they could mean here.
func unpack(in io.Reader, as layout, limits Limits) (map[string][]byte, error) {
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		return nil, refused("the archive is not gzipped: %v", err)
	}
	u := unpacking{as: as, left: limits.Unpacked, limits: limits, found: map[string][]byte{}}
	// What an archive skips costs time too: names, padding, extended headers.
	archive := tar.NewReader(io.LimitReader(unzipped, limits.Unpacked+int64(limits.Entries)*2048+1<<20))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, refused("the archive is broken or too large: %v", err)
		}
		if err := u.entry(header, archive); err != nil {
			return nil, err
		}
	}
	if len(u.found) == 0 {
		return nil, refused("the archive holds no files")
	}
	return u.found, nil
}

type unpacking struct {
	as      layout
	limits  Limits
	left    int64
	entries int
	top     string
	found   map[string][]byte
}

func (u *unpacking) entry(header *tar.Header, content io.Reader) error {
	if u.entries++; u.entries > u.limits.Entries {
		return refused("the archive has more than %d entries", u.limits.Entries)
	}
	switch header.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg:
	default:
		return refused("%q in the archive is no regular file (type %q)", gitindex.Clean(header.Name, 200), header.Typeflag)
	}
	name, err := u.name(header.Name)
	if err != nil {
		return err
	}
	if _, twice := u.found[name]; twice {
		return refused("%q is in the archive twice", gitindex.Clean(name, 200))
	}
	data, err := io.ReadAll(io.LimitReader(content, u.left+1))
	if err != nil {
		return refused("%q in the archive cannot be read: %v", gitindex.Clean(name, 200), err)
	}
	if u.left -= int64(len(data)); u.left < 0 {
		return refused("the archive unpacks to more than %d bytes", u.limits.Unpacked)
	}
	if u.as == chartLayout {
		data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // as Helm does
	}
	u.found[name] = data
	return nil
}

// name is the entry's name in the tree. Archives made on Windows may have
// backslashes, which Helm takes.
func (u *unpacking) name(raw string) (string, error) {
	name := raw
	if u.as == chartLayout {
		name = strings.ReplaceAll(name, `\`, "/")
	}
	name = strings.TrimPrefix(name, "./")
	if u.as == chartLayout {
		top, rest, ok := strings.Cut(name, "/")
		if !ok {
			return "", refused("%q lies beside the chart's directory", gitindex.Clean(raw, 200))
		}
		if err := checkName(top); err != nil {
			return "", err
		}
		if u.top != "" && top != u.top {
			return "", refused("the archive holds two directories, %q and %q", gitindex.Clean(u.top, 100), gitindex.Clean(top, 100))
		}
		u.top, name = top, rest
	}
	return name, checkName(name)
}

package render

import (
	"bytes"

	"github.com/gitward/gitward/gitindex"
)

// Doc is one document of a file.
type Doc struct {
	Text []byte // without the separator before it
	Line int    // of the text's first byte, from 1
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// Documents splits a file where kubectl splits it: at a line that is "---"
// and nothing else but a comment. Documents that are empty or all comment are
// left out. The texts share the data's memory.
//
// What Read makes of a document depends on its text alone, so a caller who
// meets the same documents again and again may remember that by the text's
// hash.
func Documents(data []byte) []Doc {
	var docs []Doc
	data = bytes.TrimPrefix(data, byteOrderMark)
	start, from, line := 0, 1, 1
	for at := 0; at < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if separates(data[at:end]) {
			docs = appendDoc(docs, Doc{data[start:at], from})
			start, from = end, line+1
		}
		at = end
	}
	return appendDoc(docs, Doc{data[start:], from})
}

// separates is kubectl's rule. A line that begins with "---" and holds more is
// an error to kubectl and the first line of a document to others: Read refuses
// it, so it is no separator here.
func separates(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	if !ok {
		return false
	}
	trimmed := bytes.TrimSpace(rest)
	return len(trimmed) == 0 || trimmed[0] == '#' && (rest[0] == ' ' || rest[0] == '\t')
}

func appendDoc(docs []Doc, d Doc) []Doc {
	if blank(d.Text) {
		return docs
	}
	return append(docs, d)
}

// blank reports whether a text is nothing but comments and white space.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && string(line) != "..." {
			return false
		}
	}
	return true
}

// Place returns what Read found in the document's text as it stands in the
// file. It copies, so that what was remembered stays as it was.
func (d Doc) Place(path string, objects []Object, problems []gitindex.Problem) ([]Object, []gitindex.Problem) {
	placed := make([]Object, len(objects))
	for i, o := range objects {
		o.Line += d.Line - 1
		o.End += d.Line - 1
		placed[i] = o
	}
	told := make([]gitindex.Problem, len(problems))
	for i, p := range problems {
		p.Path = path
		p.Line += d.Line - 1
		told[i] = p
	}
	return placed, told
}

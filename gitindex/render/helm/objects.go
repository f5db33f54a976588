package helm

import (
	"bytes"
	"fmt"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// objects reads documents as Helm's client does, which is as kubectl does.
func objects(documents []Document) ([]render.Object, error) {
	var all []render.Object
	for _, d := range documents {
		found, err := d.Objects()
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Objects are those of the document. Helm refuses a whole release for one
// document that it cannot read.
func (d Document) Objects() ([]render.Object, error) {
	found, problems := render.Read(d.Sent(), render.Limits{})
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s, line %d of a document as it was rendered: %s",
			gitindex.Clean(d.Template, 200), problems[0].Line, problems[0].Message)
	}
	if len(found) == 0 && !ignored(d.Text) {
		return nil, fmt.Errorf("%s renders a document that is no object, or one that is marked as local to a tool",
			gitindex.Clean(d.Template, 200))
	}
	for i := range found {
		found[i].Path, found[i].Line, found[i].End = d.Path, 0, 0
		found[i].Hook, found[i].Bare = d.Hook, d.Bare
	}
	return found, nil
}

// ignored reports whether a document holds nothing: comments, or null.
func ignored(text []byte) bool {
	for _, doc := range render.Documents(text) {
		for line := range bytes.Lines(doc.Text) {
			line = bytes.TrimSpace(line)
			if len(line) > 0 && line[0] != '#' && !bytes.HasPrefix(line, []byte("null")) && string(line) != "..." {
				return false
			}
		}
	}
	return true
}

package elsewhere

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/gitward/gitward/gitindex"
)

// release is one version of a chart in a Helm repository's index.
type release struct {
	Version string   `json:"version" yaml:"version"`
	URLs    []string `json:"urls" yaml:"urls"`
	Digest  string   `json:"digest" yaml:"digest"`
}

// wholeIndex is up to where an index is parsed whole if it cannot be cut.
const wholeIndex = 8 << 20

// releases reads those of one chart. Real indexes have tens of megabytes, and a
// parsed one takes ten times as much: so the chart's part is cut out first. An
// index that is written in another way is parsed whole, if it is small.
func releases(index []byte, chart string) ([]release, error) {
	index = bytes.TrimPrefix(index, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimLeft(index, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return releasesOfJSON(trimmed, chart)
	}
	if cut, ok := cutEntry(index, chart); ok {
		var list []release
		if err := yaml.Unmarshal(cut, &list); err == nil {
			return list, nil
		}
	}
	if len(index) > wholeIndex {
		return nil, refused("the index has no chart %q, or is written in a way that is read only up to %d bytes", gitindex.Clean(chart, 100), wholeIndex)
	}
	var whole struct {
		Entries map[string][]release `yaml:"entries"`
	}
	if err := yaml.Unmarshal(index, &whole); err != nil {
		return nil, refused("the index does not parse: %v", gitindex.Clean(err.Error(), 200))
	}
	return whole.Entries[chart], nil
}

// cutEntry is the value under entries, then under the chart's name, of an index
// in block style: lines up to the next one that stands as far to the left as
// the name, and is no item of the list.
func cutEntry(index []byte, chart string) ([]byte, bool) {
	inEntries, indent, from := false, -1, -1
	for at := 0; at < len(index); {
		line, next := lineAt(index, at)
		text := bytes.TrimLeft(line, " ")
		left := len(line) - len(text)
		switch {
		case len(text) == 0 || text[0] == '#':
		case left == 0 && text[0] != '-':
			if from >= 0 {
				return index[from:at], true
			}
			inEntries, indent = string(bytes.TrimRight(text, " \r")) == "entries:", -1
		case !inEntries:
		case indent < 0:
			indent = left
			fallthrough
		case left == indent && text[0] != '-':
			if from >= 0 {
				return index[from:at], true
			}
			if isKey(text, chart) {
				from = next
			}
		}
		at = next
	}
	if from < 0 {
		return nil, false
	}
	return index[from:], true
}

func lineAt(text []byte, at int) (line []byte, next int) {
	end := bytes.IndexByte(text[at:], '\n')
	if end < 0 {
		return text[at:], len(text)
	}
	return text[at : at+end], at + end + 1
}

func isKey(text []byte, name string) bool {
	key, ok := bytes.CutSuffix(bytes.TrimRight(text, " \r"), []byte(":"))
	if len(key) > 1 && (key[0] == '"' || key[0] == '\'') && key[len(key)-1] == key[0] {
		key = key[1 : len(key)-1]
	}
	return ok && string(key) == name
}

// releasesOfJSON walks an index in JSON without holding more of it than the
// chart's part.
func releasesOfJSON(index []byte, chart string) ([]release, error) {
	d := json.NewDecoder(bytes.NewReader(index))
	broken := func(err error) ([]release, error) {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, refused("the index does not parse: %v", gitindex.Clean(err.Error(), 200))
	}
	if err := seek(d, "entries"); err != nil {
		return broken(err)
	}
	if err := seek(d, chart); err != nil {
		return broken(err)
	}
	var list []release
	if err := d.Decode(&list); err != nil {
		return broken(err)
	}
	return list, nil
}

// seek stands before the value of a key of the object that comes next.
func seek(d *json.Decoder, key string) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(err, errors.New("an object is missing"))
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if t == key {
			return nil
		}
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return err
		}
	}
	return io.EOF
}

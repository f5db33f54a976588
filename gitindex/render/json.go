package render

import (
	"bytes"
	"encoding/json"

	"github.com/gitward/gitward/gitindex"
	kjson "sigs.k8s.io/json"
)

// jsonSurveyor walks the tokens of a text that is known to be valid JSON.
type jsonSurveyor struct {
	text    []byte
	limits  Limits
	decoder *json.Decoder
	nodes   int
	// line is that of the byte at offset: lines are counted as the walk goes.
	line, offset int
	out          outline
	apiVersion   bool
	kind         bool
}

func surveyJSON(text []byte, limits Limits) (outline, error) {
	s := &jsonSurveyor{text: text, limits: limits, decoder: json.NewDecoder(bytes.NewReader(text)), line: 1}
	s.decoder.UseNumber()
	s.out = outline{line: contentLine(text), end: lastLine(text), isJSON: true}
	if err := s.value(1, ""); err != nil {
		return outline{}, err
	}
	s.out.object = s.apiVersion && s.kind
	return s.out, nil
}

// here is the line of the token just read.
func (s *jsonSurveyor) here() int {
	now := int(s.decoder.InputOffset())
	s.line += bytes.Count(s.text[s.offset:now], []byte("\n"))
	s.offset = now
	return s.line
}

// value walks one value; top is its key if it stands at the document's top.
func (s *jsonSurveyor) value(depth int, top string) error {
	if s.nodes++; s.nodes > s.limits.Nodes {
		return at(s.here(), "has more than %d nodes", s.limits.Nodes)
	}
	if depth > s.limits.Depth {
		return at(s.here(), "is nested more than %d deep", s.limits.Depth)
	}
	token, err := s.decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return s.mapping(depth)
	case json.Delim('['):
		return s.list(depth, top == "items")
	}
	return nil
}

func (s *jsonSurveyor) mapping(depth int) error {
	seen := map[string]bool{}
	for s.decoder.More() {
		token, err := s.decoder.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if seen[key] {
			return at(s.here(), "the key %q stands twice in one mapping", gitindex.Clean(key, 100))
		}
		seen[key] = true
		top := ""
		if depth == 1 {
			top = key
			s.apiVersion = s.apiVersion || key == "apiVersion"
			s.kind = s.kind || key == "kind"
		}
		if err := s.value(depth+1, top); err != nil {
			return err
		}
	}
	_, err := s.decoder.Token()
	return err
}

func (s *jsonSurveyor) list(depth int, items bool) error {
	for s.decoder.More() {
		line := s.nextLine()
		if err := s.value(depth+1, ""); err != nil {
			return err
		}
		if items {
			s.out.items = append(s.out.items, span{line, s.here()})
		}
	}
	_, err := s.decoder.Token()
	return err
}

// nextLine is the line on which the next value begins.
func (s *jsonSurveyor) nextLine() int {
	line := s.here()
	for _, c := range s.text[s.offset:] {
		switch c {
		case '\n':
			line++
		case ' ', '\t', '\r', ',':
		default:
			return line
		}
	}
	return line
}

// sortJSON reads numbers as Kubernetes does: whole ones stay whole.
func sortJSON(text []byte) ([]byte, error) {
	var v map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

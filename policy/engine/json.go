package engine

import (
	"encoding/json"
	"errors"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

var (
	errJSON  = errors.New("this is no JSON")
	errTwice = errors.New("a key comes twice")
)

// deepest is how far values may be nested, as the API server has it.
const deepest = 10_000

// decode makes a value of JSON in one pass, which is a third of what it costs
// by way of Go's own types. No key may come twice.
func decode(text []byte) (ast.Value, error) {
	d := decoder{text: text}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if d.space(); d.at != len(d.text) {
		return nil, errJSON
	}
	return v.Value, nil
}

type decoder struct {
	text []byte
	at   int
}

func (d *decoder) space() {
	for d.at < len(d.text) && (d.text[d.at] == ' ' || d.text[d.at] == '\n' || d.text[d.at] == '\t' || d.text[d.at] == '\r') {
		d.at++
	}
}

// next passes over space and, if it is there, one character.
func (d *decoder) next(c byte) bool {
	d.space()
	if d.at < len(d.text) && d.text[d.at] == c {
		d.at++
		return true
	}
	return false
}

func (d *decoder) value(depth int) (*ast.Term, error) {
	if d.space(); d.at == len(d.text) {
		return nil, errJSON
	}
	c := d.text[d.at]
	if depth == deepest && (c == '{' || c == '[') {
		return nil, errJSON
	}
	switch c {
	case '{':
		d.at++
		return d.object(depth + 1)
	case '[':
		d.at++
		return d.array(depth + 1)
	case '"':
		d.at++
		s, err := d.str()
		if err != nil {
			return nil, err
		}
		return ast.InternedTerm(s), nil
	case 't':
		return ast.InternedTerm(true), d.word("true")
	case 'f':
		return ast.InternedTerm(false), d.word("false")
	case 'n':
		return ast.InternedNullTerm, d.word("null")
	}
	return d.number()
}

func (d *decoder) word(w string) error {
	if len(d.text)-d.at < len(w) || string(d.text[d.at:d.at+len(w)]) != w {
		return errJSON
	}
	d.at += len(w)
	return nil
}

func (d *decoder) object(depth int) (*ast.Term, error) {
	var pairs [][2]*ast.Term
	for !d.next('}') {
		if len(pairs) > 0 && !d.next(',') || !d.next('"') {
			return nil, errJSON
		}
		key, err := d.str()
		if err != nil {
			return nil, err
		}
		if !d.next(':') {
			return nil, errJSON
		}
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm(key), v})
	}
	if twice(pairs) {
		return nil, errTwice
	}
	return ast.ObjectTerm(pairs...), nil
}

// twice reports a key that is there more than once: ast.ObjectTerm would keep
// both.
func twice(pairs [][2]*ast.Term) bool {
	if len(pairs) <= 8 {
		for i := range pairs {
			for j := range i {
				if pairs[i][0].Value.(ast.String) == pairs[j][0].Value.(ast.String) {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[ast.String]struct{}, len(pairs))
	for _, p := range pairs {
		seen[p[0].Value.(ast.String)] = struct{}{}
	}
	return len(seen) < len(pairs)
}

func (d *decoder) array(depth int) (*ast.Term, error) {
	var list []*ast.Term
	for !d.next(']') {
		if len(list) > 0 && !d.next(',') {
			return nil, errJSON
		}
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return ast.ArrayTerm(list...), nil
}

func (d *decoder) number() (*ast.Term, error) {
	from := d.at
	for d.at < len(d.text) {
		c := d.text[d.at]
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		d.at++
	}
	n := d.text[from:d.at]
	if !json.Valid(n) {
		return nil, errJSON
	}
	return ast.NumberTerm(json.Number(n)), nil
}

// str reads what follows a quotation mark, to the other.
func (d *decoder) str() (string, error) {
	from := d.at
	for d.at < len(d.text) {
		switch c := d.text[d.at]; {
		case c == '"':
			s := d.text[from:d.at]
			d.at++
			if !utf8.Valid(s) {
				return string([]rune(string(s))), nil // as encoding/json has it
			}
			return string(s), nil
		case c == '\\':
			return d.escaped(from)
		case c < 0x20:
			return "", errJSON
		}
		d.at++
	}
	return "", errJSON
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped is str for a string with a backslash, which is at hand.
func (d *decoder) escaped(from int) (string, error) {
	out := append([]byte(nil), d.text[from:d.at]...)
	for d.at < len(d.text) {
		c := d.text[d.at]
		d.at++
		switch {
		case c == '"':
			return string([]rune(string(out))), nil
		case c < 0x20 || c == '\\' && d.at == len(d.text):
			return "", errJSON
		case c != '\\':
			out = append(out, c)
			continue
		}
		c = d.text[d.at]
		d.at++
		if plain, ok := escapes[c]; ok {
			out = append(out, plain)
			continue
		}
		r, ok := d.hex()
		if c != 'u' || !ok {
			return "", errJSON
		}
		if utf16.IsSurrogate(r) {
			r = d.pair(r)
		}
		out = utf8.AppendRune(out, r)
	}
	return "", errJSON
}

// hex reads four digits.
func (d *decoder) hex() (rune, bool) {
	if len(d.text)-d.at < 4 {
		return 0, false
	}
	var r rune
	for _, c := range d.text[d.at : d.at+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	d.at += 4
	return r, true
}

// pair is the character of which first is one half, if the other follows.
func (d *decoder) pair(first rune) rune {
	if before := d.at; len(d.text)-d.at >= 6 && d.text[d.at] == '\\' && d.text[d.at+1] == 'u' {
		d.at += 2
		if second, ok := d.hex(); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r
			}
		}
		d.at = before
	}
	return utf8.RuneError
}

// Package object answers one question: what does this raw Git object say, read
// strictly?
//
// Signatures cover bytes, and people see what a parser makes of them. Where
// two parsers read the same bytes differently, a signed commit can show one
// author, tree or parent to git and another to us (gitsign CVE-2026-44309,
// go-git CVE-2026-45022). So this parser knows one canonical grammar and
// refuses everything else: it never repairs, skips or guesses. What git itself
// writes, and what the forges write, passes.
//
// Only SHA-1 objects are read. The caller has hashed the bytes already and
// knows their id.
package object

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every error of this package: the object is
// refused, and reading it again will not help.
var ErrMalformed = errors.New("malformed object")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// ID names one object. It is a value, so that a large tree costs no memory per
// entry beyond itself.
type ID [20]byte

// String is the id as 40 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id is all zeros, which names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads 40 lower-case hex digits. Upper case is refused: git never
// writes it, and two spellings of one id invite two answers.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, malformed("an object id of %d characters", len(s))
	}
	for i := range id {
		hi, lo := nibble(s[2*i]), nibble(s[2*i+1])
		if hi > 15 || lo > 15 {
			return ID{}, malformed("an object id that is not lower-case hex")
		}
		id[i] = hi<<4 | lo
	}
	return id, nil
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

package object

import (
	"bytes"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// MaxParents is the most parents a commit may have. Git itself stops an octopus
// merge far earlier.
const MaxParents = 64

// Commit is what one commit object says. Nothing in it is proven: Verify of
// package signature says who vouches for Payload.
type Commit struct {
	Tree              string   // 40 hex digits
	Parents           []string // in order
	Author, Committer gitindex.Person
	Encoding          string // of the message; empty means UTF-8
	Message           string // as bytes, in that encoding, without NUL
	// Signature is the armored signature with the header's folding undone,
	// each line ending in a newline; nil if the commit is unsigned.
	Signature []byte
	// Payload is exactly the bytes the signature covers: the raw object without
	// its gpgsig and gpgsig-sha256 headers. Do not change it: without such
	// headers it is the raw object itself.
	Payload []byte
}

// Subject is the first line of the message that is not blank, uncleaned.
func (c *Commit) Subject() string {
	for line := range strings.Lines(c.Message) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// ParseCommit reads one raw commit object (no "commit N\0" header) strictly:
// what git and go-git would read differently is an error wrapping ErrMalformed.
//
// The headers are tree, parent (up to MaxParents), author and committer, each
// in this place and nowhere else, then any others. Of those, gpgsig,
// gpgsig-sha256 and encoding may come once; a value goes on in lines that begin
// with a space. A blank line and the message follow.
func ParseCommit(raw []byte) (*Commit, error) {
	if bytes.IndexByte(raw, 0) >= 0 {
		// Git shows a message up to the NUL, others show all of it.
		return nil, malformed("commit with a NUL byte")
	}
	end := bytes.Index(raw, []byte("\n\n"))
	if end < 0 {
		return nil, malformed("commit without a blank line after its headers")
	}
	c := &Commit{Message: string(raw[end+2:])}
	rest, err := c.parseFixed(raw[:end+1])
	if err != nil {
		return nil, err
	}
	if err := c.parseExtra(raw, end+1-len(rest), end+1); err != nil {
		return nil, err
	}
	return c, nil
}

// parseFixed reads the headers every commit begins with, and returns the rest.
func (c *Commit) parseFixed(head []byte) ([]byte, error) {
	tree, head, ok := cutHeader(head, "tree")
	if !ok {
		return nil, malformed("commit does not begin with its tree")
	}
	_, err := ParseID(tree)
	if err != nil {
		return nil, err
	}
	c.Tree = tree
	if head, err = c.parseParents(head); err != nil {
		return nil, err
	}
	if c.Author, head, err = cutPerson(head, "author"); err != nil {
		return nil, err
	}
	if c.Committer, head, err = cutPerson(head, "committer"); err != nil {
		return nil, err
	}
	return head, nil
}

func (c *Commit) parseParents(head []byte) ([]byte, error) {
	for {
		parent, rest, ok := cutHeader(head, "parent")
		if !ok {
			return head, nil
		}
		if _, err := ParseID(parent); err != nil {
			return nil, err
		}
		if len(c.Parents) == MaxParents {
			return nil, malformed("commit with more than %d parents", MaxParents)
		}
		c.Parents = append(c.Parents, parent)
		head = rest
	}
}

// parseExtra reads the headers from at to end, and cuts the payload out of raw
// on the way.
func (c *Commit) parseExtra(raw []byte, at, end int) error {
	seen := map[string]bool{}
	c.Payload = raw
	var payload []byte // nil until something is left out
	kept := 0          // raw[:kept] is in payload already
	for at < end {
		name, value, size, err := cutExtra(raw[at:end])
		if err != nil {
			return err
		}
		if once(name) && seen[name] {
			return malformed("commit with two %s headers", name)
		}
		seen[name] = true
		if err := c.take(name, value); err != nil {
			return err
		}
		if name == "gpgsig" || name == "gpgsig-sha256" {
			payload = append(payload, raw[kept:at]...)
			kept = at + size
		}
		at += size
	}
	if kept > 0 {
		c.Payload = append(payload, raw[kept:]...)
	}
	return nil
}

func once(name string) bool {
	return name == "gpgsig" || name == "gpgsig-sha256" || name == "encoding"
}

func (c *Commit) take(name string, value []byte) error {
	switch {
	case name == "tree" || name == "parent" || name == "author" || name == "committer":
		return malformed("commit with a second or misplaced %s", name)
	case name == "encoding":
		if bytes.IndexByte(value, '\n') != len(value)-1 {
			return malformed("commit with a folded encoding header")
		}
		c.Encoding = string(value[:len(value)-1])
	case name == "gpgsig":
		c.Signature = value
		return checkArmor(name, value)
	case name == "gpgsig-sha256":
		return checkArmor(name, value)
	case strings.HasPrefix(name, "gpgsig"):
		// Git leaves every header that begins so out of the signed bytes:
		// room for anything, under anyone's signature.
		return malformed("commit with an unknown header %q", clip(name))
	}
	return nil
}

// checkArmor wants one armored block and nothing beside it but blank lines at
// the end, which GitHub writes. With two blocks git names the first key.
func checkArmor(name string, value []byte) error {
	lines := bytes.Split(bytes.TrimRight(value, "\n"), []byte("\n"))
	last := len(lines) - 1
	for i, line := range lines {
		if bytes.HasPrefix(line, []byte("-----BEGIN ")) != (i == 0) ||
			bytes.HasPrefix(line, []byte("-----END ")) != (i == last) {
			return malformed("commit whose %s is not exactly one armored block", name)
		}
	}
	return nil
}

// cutHeader takes the one line "name value" off the front of head.
func cutHeader(head []byte, name string) (value string, rest []byte, ok bool) {
	line, rest, found := bytes.Cut(head, []byte("\n"))
	if !found || len(line) <= len(name) || string(line[:len(name)]) != name || line[len(name)] != ' ' {
		return "", head, false
	}
	return string(line[len(name)+1:]), rest, true
}

// cutExtra takes one header with its continuation lines off the front of head.
// The value's folding is undone, and each of its lines ends in a newline.
func cutExtra(head []byte) (name string, value []byte, size int, err error) {
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	key, first, ok := bytes.Cut(line, []byte(" "))
	if !ok || !isToken(key) {
		return "", nil, 0, malformed("commit header line %q is not a name and a value", clip(string(line)))
	}
	size = len(line) + 1
	value = append(append(make([]byte, 0, len(first)+1), first...), '\n')
	for len(rest) > 0 && rest[0] == ' ' {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		size += len(line) + 1
		value = append(append(value, line[1:]...), '\n')
	}
	return string(key), value, size, nil
}

// isToken wants visible ASCII.
func isToken(key []byte) bool {
	for _, c := range key {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(key) > 0
}

func cutPerson(head []byte, name string) (gitindex.Person, []byte, error) {
	text, rest, ok := cutHeader(head, name)
	if !ok {
		return gitindex.Person{}, nil, malformed("commit without %s in its place", name)
	}
	person, ok := parsePerson(text)
	if !ok {
		return gitindex.Person{}, nil, malformed("commit whose %s is not \"name <email> time zone\"", name)
	}
	return person, rest, nil
}

// parsePerson reads "name <email> seconds zone" with one pair of angle
// brackets. Git looks for the last of them and go-git for the first, so with
// more than one pair they name different people.
func parsePerson(text string) (gitindex.Person, bool) {
	name, after, ok := strings.Cut(text, "<")
	if !ok || strings.IndexByte(name, '>') >= 0 || name != "" && !strings.HasSuffix(name, " ") {
		return gitindex.Person{}, false
	}
	email, stamp, ok := strings.Cut(after, "> ")
	if !ok || strings.ContainsAny(email, "<>") || strings.ContainsAny(stamp, "<>") {
		return gitindex.Person{}, false
	}
	when, ok := parseTime(stamp)
	return gitindex.Person{Name: strings.TrimSuffix(name, " "), Email: email, When: when}, ok
}

// lastSecond is the end of the year 9999, the last that RFC 3339 can write.
const lastSecond = 253402300799

// parseTime reads "1136239445 -0700" in the one spelling git writes: no sign,
// no leading zero, a zone of exactly four digits.
func parseTime(stamp string) (time.Time, bool) {
	digits, zone, ok := strings.Cut(stamp, " ")
	if !ok || digits == "" || digits[0] == '0' && digits != "0" {
		return time.Time{}, false
	}
	seconds, ok := number(digits, lastSecond)
	if !ok || len(zone) != 5 || zone[0] != '+' && zone[0] != '-' {
		return time.Time{}, false
	}
	hhmm, ok := number(zone[1:], 9999)
	if !ok {
		return time.Time{}, false
	}
	offset := int(hhmm/100*60+hhmm%100) * 60
	if zone[0] == '-' {
		offset = -offset
	}
	return time.Unix(seconds, 0).In(time.FixedZone("", offset)), true
}

func number(digits string, limit int64) (int64, bool) {
	var n int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n > limit {
			return 0, false
		}
	}
	return n, true
}

package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gitward/gitward/gitindex"
)

// allowedLine is one line of an allowed_signers file (ssh-keygen(1), ALLOWED
// SIGNERS).
type allowedLine struct {
	principals    string // pattern list
	key           string // the public key's wire form
	fingerprint   string
	authority     bool
	namespaces    string // pattern list; only meant if restricted
	restricted    bool
	after, before time.Time // inclusive; zero means no bound
}

// parseAllowed reads one line:
//
//	principals [options] keytype base64 [comment]
func parseAllowed(text string) (allowedLine, error) {
	var line allowedLine
	var err error
	if line.principals, text, err = cutPrincipals(text); err != nil {
		return allowedLine{}, err
	}
	if first, _, _ := strings.Cut(text, " "); !isKeyType(strings.TrimRight(first, "\t")) {
		if text, err = line.parseOptions(text); err != nil {
			return allowedLine{}, err
		}
	}
	key, _, err := parseKeyText(text)
	if err != nil {
		return allowedLine{}, err
	}
	line.key, line.fingerprint = string(key.Marshal()), ssh.FingerprintSHA256(key)
	return line, nil
}

// cutPrincipals takes the first word, which may be quoted in whole or from some
// place on, as ssh's strdelim does.
func cutPrincipals(text string) (principals, rest string, err error) {
	at := strings.IndexAny(text, " \t\"")
	if at < 0 {
		return "", "", errors.New("no key behind the principals")
	}
	principals, rest = text[:at], text[at+1:]
	if text[at] == '"' {
		quoted, behind, ok := strings.Cut(rest, `"`)
		if !ok {
			return "", "", errors.New("a quote that is not closed")
		}
		principals, rest = principals+quoted, behind
	}
	if principals == "" || strings.Trim(principals, ",") == "" {
		return "", "", errors.New("no principals")
	}
	return principals, strings.TrimLeft(rest, " \t"), nil
}

// parseOptions reads comma-separated options up to a blank, and returns the
// text behind it.
func (l *allowedLine) parseOptions(text string) (string, error) {
	for {
		name, value, rest, err := cutOption(text)
		if err != nil {
			return "", err
		}
		if err := l.set(name, value); err != nil {
			return "", err
		}
		if rest == "" {
			return "", errors.New("no key behind the options")
		}
		if rest[0] == ' ' || rest[0] == '\t' {
			return strings.TrimLeft(rest, " \t"), l.checkBounds()
		}
		if rest[0] != ',' {
			return "", fmt.Errorf("text behind option %q", gitindex.Clean(name, 40))
		}
		text = rest[1:]
	}
}

// option is an option's value; a flag has none.
type option struct {
	text  string
	given bool
}

// cutOption takes one `name` or `name="value"` off text. In a value only the
// quote itself is escaped, with a backslash.
func cutOption(text string) (name string, value option, rest string, err error) {
	end := strings.IndexAny(text, "=, \t")
	if end < 0 {
		return text, option{}, "", nil
	}
	name, rest = strings.ToLower(text[:end]), text[end:]
	if rest[0] != '=' {
		return name, option{}, rest, nil
	}
	if rest = rest[1:]; !strings.HasPrefix(rest, `"`) {
		return "", option{}, "", fmt.Errorf("the value of option %q is not quoted", gitindex.Clean(name, 40))
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '"':
			return name, option{b.String(), true}, rest[i+1:], nil
		case rest[i] == '\\' && i+1 < len(rest) && rest[i+1] == '"':
			i++
			b.WriteByte('"')
		default:
			b.WriteByte(rest[i])
		}
	}
	return "", option{}, "", fmt.Errorf("the quote of option %q is not closed", gitindex.Clean(name, 40))
}

func (l *allowedLine) set(name string, value option) error {
	var err error
	switch {
	case name == "cert-authority" && !value.given:
		l.authority = true
	case name == "namespaces" && value.given:
		if l.restricted {
			return errors.New("option namespaces twice")
		}
		l.namespaces, l.restricted = value.text, true
	case name == "valid-after" && value.given:
		if !l.after.IsZero() {
			return errors.New("option valid-after twice")
		}
		l.after, err = parseBound(value.text)
	case name == "valid-before" && value.given:
		if !l.before.IsZero() {
			return errors.New("option valid-before twice")
		}
		l.before, err = parseBound(value.text)
	default:
		return fmt.Errorf("option or key type %q is not known", gitindex.Clean(name, 40))
	}
	if err != nil {
		return fmt.Errorf("option %s: %w", name, err)
	}
	return nil
}

func (l *allowedLine) checkBounds() error {
	if !l.after.IsZero() && !l.before.IsZero() && l.before.Before(l.after) {
		return errors.New("valid-before is earlier than valid-after")
	}
	return nil
}

// parseBound reads YYYYMMDD[HHMM[SS]], with or without a Z or UTC behind it.
// Without, ssh-keygen takes the zone of the machine it runs on; here it is
// always UTC, so that one file means the same on every replica.
func parseBound(text string) (time.Time, error) {
	upper := strings.ToUpper(text)
	digits := strings.TrimSuffix(strings.TrimSuffix(upper, "Z"), "UTC")
	layout := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	t, err := time.Parse(layout, digits)
	if layout == "" || err != nil || strings.HasSuffix(upper, "UTCZ") {
		return time.Time{}, fmt.Errorf("%q is not a time like 20260131 or 20260131235959Z", gitindex.Clean(text, 40))
	}
	return t, nil
}

// covers reports whether the bounds hold at t, both ends included, as for
// ssh-keygen.
func (l *allowedLine) covers(t time.Time) bool {
	s := t.Unix()
	return (l.after.IsZero() || s >= l.after.Unix()) && (l.before.IsZero() || s <= l.before.Unix())
}

// isKeyType reports whether a word names a type of key, so that what follows
// is a key and not an option.
func isKeyType(word string) bool {
	switch strings.TrimSuffix(word, "-cert-v01@openssh.com") {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoRSA, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, "ssh-dss",
		"sk-ssh-ed25519", "sk-ecdsa-sha2-nistp256":
		return true
	}
	return false
}

// parseKeyText reads "keytype base64 [comment]".
func parseKeyText(text string) (ssh.PublicKey, string, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) < 2 {
		return nil, "", errors.New("no key: want \"keytype base64\"")
	}
	if !isKeyType(words[0]) {
		return nil, "", fmt.Errorf("key type %q is not known", gitindex.Clean(words[0], 40))
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return nil, "", errors.New("the key is not base64")
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil || key.Type() != words[0] {
		return nil, "", errors.New("the key cannot be read, or is not of the type that is said")
	}
	if _, ok := key.(*ssh.Certificate); ok {
		// Listed itself, it would be trusted without its authority and for ever.
		return nil, "", errors.New("a certificate: list the key that signs it, with cert-authority")
	}
	return key, strings.Join(words[2:], " "), nil
}

// Package sops answers: which values did SOPS encrypt here, and does the
// document still stand as it was encrypted?
//
// It opens YAML and JSON documents with age identities and reads nothing else:
// no other key, no key service, no file, no network. The format is that of
// SOPS v3 (https://github.com/getsops/sops, aes/cipher.go, sops.go and
// stores/stores.go): every leaf by itself is AES-256-GCM under one data key,
// bound to the names above it; the data key is encrypted to each recipient; a
// SHA-512 over all plain values is encrypted beside the time of the last change.
//
// No error holds a value, or a part of a key.
package sops

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Bounds on one document. Kubernetes takes no Secret of more than 1 MiB.
const (
	maxFile       = 3 << 20
	maxNodes      = 100_000
	maxDepth      = 100
	maxRecipients = 100
	maxDataKey    = 4 << 10 // armored
	maxRule       = 1000
)

// ErrNoKey says that none of the identities opens the document.
var ErrNoKey = errors.New("no age key of the Origin opens it")

// Identities reads age identities, each text as age-keygen writes it.
func Identities(texts []string) (ids []age.Identity, err error) {
	for i, text := range texts {
		some, err := age.ParseIdentities(strings.NewReader(text))
		if err != nil { // which may quote what it could not read
			return nil, fmt.Errorf("text %d holds a line that is no age identity, or none at all", i+1)
		}
		ids = append(ids, some...)
	}
	return ids, nil
}

// metadata is what SOPS keeps in a document about its encryption, as far as it
// is needed here.
type metadata struct {
	Age []struct {
		Enc string `json:"enc"`
	} `json:"age"`
	KeyGroups               []any  `json:"key_groups"`
	LastModified            string `json:"lastmodified"`
	MAC                     string `json:"mac"`
	UnencryptedSuffix       string `json:"unencrypted_suffix"`
	EncryptedSuffix         string `json:"encrypted_suffix"`
	UnencryptedRegex        string `json:"unencrypted_regex"`
	EncryptedRegex          string `json:"encrypted_regex"`
	UnencryptedCommentRegex string `json:"unencrypted_comment_regex"`
	EncryptedCommentRegex   string `json:"encrypted_comment_regex"`
	MACOnlyEncrypted        bool   `json:"mac_only_encrypted"`
}

// Key opens the leaves of one document.
type Key struct {
	data     []byte
	metadata metadata
	rule     rule
}

// Unlock takes what a document has under "sops" and opens its data key with
// whichever identity fits.
func Unlock(under any, ids []age.Identity) (*Key, error) {
	text, err := json.Marshal(under)
	if err != nil {
		return nil, errors.New("its sops metadata cannot be read")
	}
	k := &Key{}
	if err := json.Unmarshal(text, &k.metadata); err != nil {
		return nil, errors.New("its sops metadata has fields of other types than SOPS writes")
	}
	if k.rule, err = k.metadata.rule(); err != nil {
		return nil, err
	}
	if len(k.metadata.KeyGroups) > 0 {
		return nil, errors.New("its data key is split among key groups, which is not supported")
	}
	k.data, err = k.metadata.dataKey(ids)
	return k, err
}

func (m *metadata) dataKey(ids []age.Identity) ([]byte, error) {
	if len(ids) == 0 || len(m.Age) > maxRecipients {
		return nil, ErrNoKey
	}
	for _, r := range m.Age {
		if len(r.Enc) > maxDataKey {
			continue
		}
		opened, err := age.Decrypt(armor.NewReader(strings.NewReader(r.Enc)), ids...)
		if err != nil {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(opened, 33))
		if err == nil && len(data) == 32 {
			return data, nil
		}
	}
	return nil, ErrNoKey
}

// MAC is the document's, as it stands there: what tells the document from
// others.
func (k *Key) MAC() string { return k.metadata.MAC }

// rule says which leaves are encrypted.
type rule struct {
	unencrypted, encrypted func(name string) bool // at most one is set
}

func (m *metadata) rule() (rule, error) {
	if m.UnencryptedCommentRegex != "" || m.EncryptedCommentRegex != "" {
		return rule{}, errors.New("its comments say what is encrypted, which is not supported")
	}
	var rules []rule
	if s := m.UnencryptedSuffix; s != "" {
		rules = append(rules, rule{unencrypted: func(name string) bool { return strings.HasSuffix(name, s) }})
	}
	if s := m.EncryptedSuffix; s != "" {
		rules = append(rules, rule{encrypted: func(name string) bool { return strings.HasSuffix(name, s) }})
	}
	for i, text := range []string{m.UnencryptedRegex, m.EncryptedRegex} {
		if text == "" {
			continue
		}
		re, err := regexp.Compile(text)
		if err != nil || len(text) > maxRule {
			return rule{}, errors.New("its sops metadata has a regular expression that is none, or too long")
		}
		rules = append(rules, [2]rule{{unencrypted: re.MatchString}, {encrypted: re.MatchString}}[i])
	}
	switch len(rules) {
	case 0:
		return rule{unencrypted: func(name string) bool { return strings.HasSuffix(name, "_unencrypted") }}, nil
	case 1:
		return rules[0], nil
	}
	return rule{}, errors.New("its sops metadata has two rules for what is encrypted")
}

// Encrypts reports whether a leaf below these names is an encrypted one.
// Positions in lists are no names.
func (k *Key) Encrypts(names []string) bool {
	test, of := k.rule.unencrypted, false
	if test == nil {
		test, of = k.rule.encrypted, true
	}
	for _, name := range names {
		if test(name) {
			return of
		}
	}
	return !of
}

// modified is the time of the last change in the form that SOPS binds the MAC to.
func (m *metadata) modified() (string, error) {
	at, err := time.Parse(time.RFC3339, m.LastModified)
	if err != nil {
		return "", errors.New("its sops.lastmodified is no time")
	}
	return at.Format(time.RFC3339), nil
}

// Holds reports whether a file holds the document's MAC.
func (k *Key) Holds(file []byte) bool {
	return k.metadata.MAC != "" && bytes.Contains(file, []byte(k.metadata.MAC))
}

package sops

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// onlyEncrypted is what the sum begins with where only encrypted values are in
// it: the SHA-256 of "sops" (sops.go, MACOnlyEncryptedInitialization).
const onlyEncrypted = "8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69"

// Check reports why a file is not as SOPS encrypted it; nil if it is. The sum
// is over all the documents of a file, in their order.
func (k *Key) Check(file []byte) error {
	if len(file) > maxFile {
		return fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	s := sum{key: k, hash: sha512.New()}
	if k.metadata.MACOnlyEncrypted {
		start, err := hex.DecodeString(onlyEncrypted)
		if err != nil {
			return err
		}
		s.hash.Write(start)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil { // which may quote the text
			return errors.New("it is no YAML")
		}
		if err := s.document(&document); err != nil {
			return err
		}
	}
	return k.compare(fmt.Sprintf("%X", s.hash.Sum(nil)))
}

func (k *Key) compare(sum string) error {
	at, err := k.metadata.modified()
	if err != nil {
		return err
	}
	mac, err := k.open(k.metadata.MAC, at)
	if err != nil {
		return fmt.Errorf("its SOPS MAC: %w", err)
	}
	want, _ := mac.Plain.(string)
	if want == "" || subtle.ConstantTimeCompare([]byte(want), []byte(sum)) != 1 {
		return errors.New("its SOPS MAC does not fit: it was changed after it was encrypted")
	}
	return nil
}

// sum walks documents in the order in which they are written.
type sum struct {
	key   *Key
	hash  hash.Hash
	nodes int
}

func (s *sum) document(n *yaml.Node) error {
	root := n
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		root = n.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return errors.New("a document of it is no mapping")
	}
	return s.mapping(root, nil, 0, "sops")
}

func (s *sum) mapping(n *yaml.Node, names []string, depth int, without string) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if name.Kind != yaml.ScalarNode || name.ShortTag() != "!!str" && name.ShortTag() != "!!merge" {
			return errors.New("a key of it is no text")
		}
		if without != "" && name.Value == without {
			continue
		}
		if err := s.node(n.Content[i+1], append(names[:len(names):len(names)], name.Value), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *sum) node(n *yaml.Node, names []string, depth int) error {
	if s.nodes++; s.nodes > maxNodes || depth > maxDepth {
		return errors.New("it is too large, or nested too deeply")
	}
	switch n.Kind {
	case yaml.MappingNode:
		return s.mapping(n, names, depth, "")
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if err := s.node(item, names, depth+1); err != nil {
				return err
			}
		}
		return nil
	case yaml.AliasNode:
		return s.node(n.Alias, names, depth+1)
	}
	return s.leaf(n, names)
}

func (s *sum) leaf(n *yaml.Node, names []string) error {
	var value any
	if err := n.Decode(&value); err != nil {
		return errors.New("a value of it cannot be read")
	}
	encrypted := s.key.Encrypts(names)
	if value == nil || !encrypted && s.key.metadata.MACOnlyEncrypted {
		return nil
	}
	if encrypted {
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("%s: it is not encrypted, and has to be by the document's own rule", place(names))
		}
		opened, err := s.key.Open(text, names)
		if err != nil {
			return fmt.Errorf("%s: %w", place(names), err)
		}
		if opened.Type == "comment" {
			return nil
		}
		value = opened.Plain
	}
	return s.add(value)
}

// add adds a value as SOPS writes it for this (sops.go, ToBytes).
func (s *sum) add(value any) error {
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case int:
		text = strconv.Itoa(v)
	case int64:
		text = strconv.FormatInt(v, 10)
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		text = map[bool]string{true: "True", false: "False"}[v]
	case time.Time:
		written, err := v.MarshalText()
		if err != nil {
			return errors.New("a time of it cannot be written")
		}
		text = string(written)
	default:
		return errors.New("a value of it has a type that SOPS does not know")
	}
	_, err := io.WriteString(s.hash, text)
	return err
}

// place names a leaf by its names alone, cut to what people can read.
func place(names []string) string {
	text := fmt.Sprintf("%q", strings.Join(names, "."))
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}

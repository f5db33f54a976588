package helm

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"
)

// functions stand in for those of Sprig (v3.3.0) and Helm whose results are not
// settled by their arguments.
func (w *world) functions() template.FuncMap {
	all := template.FuncMap{"lookup": w.lookup, "keys": w.keys, "values": w.valuesOf}
	maps.Copy(all, w.random())
	maps.Copy(all, w.certificates())
	maps.Copy(all, w.times())
	return all
}

// lookup finds nothing, as without a cluster; the other way it finds what was
// asked for.
func (w *world) lookup(apiVersion, kind, namespace, name string) (map[string]any, error) {
	if !w.ask("lookup") {
		return map[string]any{}, nil
	}
	object := map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{
			"name": name, "namespace": namespace, "uid": "ffffffff-ffff-4fff-bfff-ffffffffffff", "resourceVersion": "1",
			"labels": map[string]any{}, "annotations": map[string]any{}, "creationTimestamp": "2001-02-03T04:05:06Z",
		},
		"data": map[string]any{}, "spec": map[string]any{}, "status": map[string]any{},
	}
	if name != "" {
		return object, nil
	}
	object["metadata"].(map[string]any)["name"] = "another"
	return map[string]any{"apiVersion": apiVersion, "kind": kind + "List", "items": []any{object}}, nil
}

// keys come in the order of a Go map, which is any.
func (w *world) keys(dicts ...map[string]any) []string {
	all := []string{}
	for _, d := range dicts {
		all = append(all, w.ordered("keys", d)...)
	}
	return all
}

func (w *world) valuesOf(dict map[string]any) []any {
	all := []any{}
	for _, k := range w.ordered("values", dict) {
		all = append(all, dict[k])
	}
	return all
}

func (w *world) ordered(f string, dict map[string]any) []string {
	names := slices.Sorted(maps.Keys(dict))
	if len(names) > 1 && w.ask(f) {
		slices.Reverse(names)
	}
	return names
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// random values differ in each place from one world to the other.
func (w *world) random() template.FuncMap {
	text := func(f, alphabet string) any {
		return func(n int) string {
			shift := choose(w, f, 0, 1)
			var b strings.Builder
			for i := range n {
				b.WriteByte(alphabet[(7*i+shift)%len(alphabet)])
			}
			return b.String()
		}
	}
	var ascii strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		ascii.WriteByte(c)
	}
	return template.FuncMap{
		"randAlphaNum": text("randAlphaNum", letters+digits),
		"randAlpha":    text("randAlpha", letters),
		"randNumeric":  text("randNumeric", digits),
		"randAscii":    text("randAscii", ascii.String()),
		"randBytes": func(n int) (string, error) {
			return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(choose(w, "randBytes", "\x15", "\xea"), n))), nil
		},
		"randInt": func(from, to int) (int, error) {
			if to <= from {
				return 0, errors.New("randInt: the second number must be larger than the first")
			}
			return choose(w, "randInt", from, to-1), nil
		},
		"shuffle": func(s string) string {
			runes := []rune(s)
			slices.Sort(runes)
			if w.ask("shuffle") {
				slices.Reverse(runes)
			}
			return string(runes)
		},
		"uuidv4": func() string {
			return choose(w, "uuidv4", "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff")
		},
		"bcrypt": func(password string) string {
			return "$2a$10$" + w.made("bcrypt", password)
		},
		"htpasswd": func(user, password string) string {
			if strings.Contains(user, ":") {
				return "invalid username: " + user
			}
			return user + ":$2a$10$" + w.made("htpasswd", user, password)
		},
		"encryptAES": func(password, text string) (string, error) {
			return w.made("encryptAES", password, text), nil
		},
	}
}

// made is text that stands for what f makes of its arguments.
func (w *world) made(f string, args ...any) string {
	sum := sha256.Sum256(fmt.Append(nil, f, choose(w, f, 0, 1), args))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// certificate has the fields of Sprig's.
type certificate struct{ Cert, Key string }

// certificates are not really made: they would be refused in any object, and
// making keys takes seconds.
func (w *world) certificates() template.FuncMap {
	fake := func(f string) any {
		return func(args ...any) certificate {
			return certificate{Cert: w.pem(f, "CERTIFICATE", args), Key: w.pem(f, "RSA PRIVATE KEY", args)}
		}
	}
	all := template.FuncMap{"genPrivateKey": func(kind string) string {
		return w.pem("genPrivateKey", "PRIVATE KEY", []any{kind})
	}}
	for _, f := range []string{"genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey",
		"genSignedCert", "genSignedCertWithKey"} {
		all[f] = fake(f)
	}
	all["buildCustomCert"] = w.customCertificate
	return all
}

func (w *world) pem(f, kind string, args []any) string {
	block := &pem.Block{Type: kind, Bytes: []byte(unmade + w.made(f, append(args, kind)...))}
	return string(pem.EncodeToMemory(block))
}

// unmade is what the certificates and keys of this file begin with.
const unmade = "not made here: "

// customCertificate lets pass what pem made, which Sprig would not take.
func (w *world) customCertificate(cert, key string) (any, error) {
	c, _ := base64.StdEncoding.DecodeString(cert)
	k, _ := base64.StdEncoding.DecodeString(key)
	for _, text := range [][]byte{c, k} {
		if block, _ := pem.Decode(text); block != nil && strings.HasPrefix(string(block.Bytes), unmade) {
			return certificate{Cert: string(c), Key: string(k)}, nil
		}
	}
	return call[func(string, string) (any, error)]("buildCustomCert")(cert, key)
}

// The two presents lie far to both sides of any time that a chart compares
// with, and agree in no field.
var (
	present      = time.Date(2001, time.February, 3, 4, 5, 6, 123456789, time.UTC)
	otherPresent = time.Date(2087, time.November, 24, 21, 47, 58, 987654321, time.UTC)
)

func (w *world) now(f string) time.Time { return choose(w, f, present, otherPresent) }

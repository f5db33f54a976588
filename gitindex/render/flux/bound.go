package flux

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"filippo.io/age"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/sops"
	"sigs.k8s.io/kustomize/api/resource"
)

// Where the Origin has an age key, a value that SOPS encrypted is no open one:
// its hole takes that value alone, of which a digest under a key that is stored
// nowhere is all that leaves this file.
//
// Flux decrypts what kustomize built (kustomize-controller v1.9.5,
// internal/decryptor), whose keys are in another order than the file's and which
// holds what kustomize added. It therefore leaves the MAC alone. Here the MAC is
// checked against the file that the document stands in.

// binder opens one document.
type binder struct {
	*opener
	key    *sops.Key
	keys   render.Keys
	secret bool
	// inert reports that variables leave a text as it is.
	inert func(string) bool
}

// unlocked is what opener.decrypt makes of an object, with each value bound.
func (f *finisher) unlocked(r *resource.Resource, object map[string]any, source []byte, o *opener) (map[string]any, error) {
	ids, err := sops.Identities(f.keys.Identities)
	if err != nil {
		return nil, err
	}
	key, err := f.document(object, source, ids)
	if err != nil {
		return nil, fmt.Errorf("is encrypted with SOPS: %w", err)
	}
	b := binder{opener: o, key: key, keys: f.keys, secret: r.GetApiVersion() == "v1" && r.GetKind() == "Secret", inert: func(string) bool { return true }}
	if f.substitutes(r) {
		b.inert = f.vars.leave
	}
	delete(object, "sops")
	if _, err := b.value(object, nil, nil); err != nil {
		return nil, err
	}
	return object, nil
}

// document unlocks an object, and checks the file that it stands in. What comes
// from no file of the tree is authenticated value by value alone.
func (f *finisher) document(object map[string]any, source []byte, ids []age.Identity) (*sops.Key, error) {
	key, err := sops.Unlock(object["sops"], ids)
	if err != nil {
		return nil, err
	}
	name, _ := f.built.Place(source)
	if !fs.ValidPath(name) {
		return key, nil
	}
	file, err := fs.ReadFile(f.src.Tree(), name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !key.Holds(file) {
		return key, nil
	}
	if err != nil {
		return nil, errors.New("the file that it stands in cannot be read")
	}
	return key, key.Check(file)
}

// leave reports whether replacing variables leaves a text as it is.
func (v *variables) leave(text string) bool {
	m := newMarks([]byte(text))
	s, err := v.substitute(text, m)
	return err == nil && s.marked == text && s.plain == text
}

// value puts a mark, or a value of its type, in the place of each leaf that the
// document's rule says is encrypted.
func (b *binder) value(v any, steps []any, names []string) (any, error) {
	switch x := v.(type) {
	case map[string]any:
		for name, value := range x {
			bound, err := b.value(value, append(steps[:len(steps):len(steps)], name), append(names[:len(names):len(names)], name))
			if err != nil {
				return nil, err
			}
			x[name] = bound
		}
		return x, nil
	case []any:
		for i, value := range x {
			bound, err := b.value(value, append(steps[:len(steps):len(steps)], i), names)
			if err != nil {
				return nil, err
			}
			x[i] = bound
		}
		return x, nil
	}
	if v == nil || v == "" || !b.key.Encrypts(names) {
		return v, nil
	}
	text, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%s: it is not encrypted, and has to be by the document's own rule", shown(steps))
	}
	opened, err := b.key.Open(text, names)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(steps), err)
	}
	bound, err := b.bind(opened, steps)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(steps), err)
	}
	return bound, nil
}

// bind makes of a decrypted value what stands in its place.
func (b *binder) bind(v sops.Value, steps []any) (any, error) {
	var placeholder any
	text := ""
	switch plain := v.Plain.(type) {
	case string:
		return b.text(plain, v.Type, steps)
	case int64:
		text, placeholder = strconv.FormatInt(plain, 10), int64(1)
	case float64:
		text, placeholder = asJSON(plain), int64(1)
	case bool:
		text, placeholder = strconv.FormatBool(plain), true
	default:
		return nil, errors.New("it has a type that no object has")
	}
	b.found = append(b.found, opening{steps: steps, digest: b.keys.Sum([]byte(text)), why: sopsWhy})
	return placeholder, nil
}

func (b *binder) text(plain, kind string, steps []any) (any, error) {
	switch {
	case kind == "comment":
		return nil, errors.New("it is a comment in the place of a value")
	case !b.inert(plain):
		return nil, errors.New("the decrypted value is changed by spec.postBuild, and then it cannot be compared (annotate the object with " + substituteKey + ": " + disabled + ")")
	case plain == "":
		return plain, nil
	}
	value := []byte(plain)
	if b.secret && len(steps) == 2 && steps[0] == "data" {
		decoded, err := base64.StdEncoding.DecodeString(plain)
		if err != nil { // which says where in the value
			return nil, errors.New("the decrypted value is no base64")
		}
		value = decoded
	}
	return b.marks.only(sopsWhy, b.keys.Sum(value)), nil
}

// asJSON is a number as the API server reads it: one without a fraction is an
// integer.
func asJSON(v float64) string {
	if n := int64(v); float64(n) == v && v > -1<<53 && v < 1<<53 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

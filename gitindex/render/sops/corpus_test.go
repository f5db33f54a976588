package sops

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gitward/gitward/test/corpus"
)

// TestCorpus: of real repositories the keys are not known, but everything up to
// the data key can be read, each leaf is in the form that is read here, and the
// document's own rule says of each whether it is encrypted.
func TestCorpus(t *testing.T) {
	dir := corpus.Dir(t, "flux")
	files, leaves := 0, 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".yaml") && !strings.HasSuffix(p, ".yml") {
			return err
		}
		data, err := os.ReadFile(p)
		var object map[string]any
		if err != nil || !strings.Contains(string(data), "ENC[AES256_GCM") || yaml.Unmarshal(data, &object) != nil || object["sops"] == nil {
			return err
		}
		files++
		if _, err := Unlock(object["sops"], identities(t, "other.agekey")); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: %v", p, err)
		}
		leaves += readable(t, p, object)
		return nil
	})
	if err != nil || files < 10 || leaves < files {
		t.Errorf("%d files with %d leaves (%v)", files, leaves, err)
	}
	t.Logf("%d files with %d leaves", files, leaves)
}

func readable(t *testing.T, file string, object map[string]any) (leaves int) {
	k := &Key{data: make([]byte, 32)}
	var m struct{ Sops metadata }
	m.Sops.EncryptedRegex, _ = object["sops"].(map[string]any)["encrypted_regex"].(string)
	m.Sops.EncryptedSuffix, _ = object["sops"].(map[string]any)["encrypted_suffix"].(string)
	k.rule, _ = m.Sops.rule()
	delete(object, "sops")
	var walk func(v any, names []string)
	walk = func(v any, names []string) {
		switch v := v.(type) {
		case map[string]any:
			for name, value := range v {
				walk(value, append(names[:len(names):len(names)], name))
			}
		case []any:
			for _, item := range v {
				walk(item, names)
			}
		case string:
			if encrypted := leafForm.MatchString(v); v != "" && encrypted != k.Encrypts(names) {
				t.Errorf("%s: %v is encrypted %v, and the rule says otherwise", file, names, encrypted)
			} else if encrypted {
				leaves++
				if _, err := k.Open(v, names); err == nil {
					t.Errorf("%s: %v opens with a key that is none", file, names)
				}
			}
		}
	}
	walk(object, nil)
	return leaves
}

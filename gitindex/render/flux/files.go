package flux

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/kustomize"
	"sigs.k8s.io/yaml"
)

// files opens the encrypted files that Flux decrypts before it builds: those of
// secretGenerators and patches (kustomize-controller v1.9.5, DecryptSources).
// Their marks travel through kustomize.
type files struct {
	marks *marks
	// floating are the final names of generated Secrets that end in a hash over
	// decrypted content, with the pattern of what they may be.
	floating map[string]string
}

// newFiles makes marks that no file of the tree holds by chance.
func (k *kustomization) newFiles() *files {
	sum := sha256.Sum256([]byte(k.Metadata.Namespace + "/" + k.Metadata.Name))
	return &files{marks: &marks{prefix: "gitwardFile" + hex.EncodeToString(sum[:10])}, floating: map[string]string{}}
}

func (f *files) decrypt(s kustomize.Secret) ([]byte, error) {
	if bytes.Contains(s.Data, []byte(f.marks.prefix)) {
		return nil, fmt.Errorf("%s holds the text that marks open values", gitindex.Clean(s.Path, 200))
	}
	if !isEncryptedFile(s.Data) {
		return nil, nil
	}
	switch s.Use {
	case "env":
		return f.lines(s)
	case "patch":
		return f.patch(s)
	}
	return []byte(f.marks.mark("the decrypted content of " + gitindex.Clean(s.Path, 200))), nil
}

// lines opens a file of KEY=value lines.
func (f *files) lines(s kustomize.Secret) ([]byte, error) {
	var out bytes.Buffer
	for line := range strings.Lines(string(s.Data)) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		switch {
		case !ok || strings.HasPrefix(name, "#"), strings.HasPrefix(name, "sops_"):
		case leaf.MatchString(value):
			fmt.Fprintf(&out, "%s=%s\n", name, f.marks.mark("the value of "+gitindex.Clean(name, 60)+" in "+gitindex.Clean(s.Path, 200)))
		default:
			fmt.Fprintf(&out, "%s=%s\n", name, value)
		}
	}
	if out.Len() == 0 {
		return nil, &render.NeedsError{What: "the decrypted content of " + gitindex.Clean(s.Path, 200), Why: "its lines cannot be seen without the key"}
	}
	return out.Bytes(), nil
}

// patch opens a merge patch. Values that are no text cannot be marked.
func (f *files) patch(s kustomize.Secret) ([]byte, error) {
	object, err := tree(s.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: an encrypted patch that is no mapping", gitindex.Clean(s.Path, 200))
	}
	o := opener{marks: f.marks}
	object = o.decrypt(object)
	if len(o.found) > 0 {
		return nil, &render.NeedsError{What: "the decrypted content of " + gitindex.Clean(s.Path, 200), Why: "it patches values that are no text"}
	}
	return yaml.Marshal(object)
}

// float notes the generated Secrets whose names depend on decrypted content.
func (f *files) float(built *kustomize.Built) {
	for _, name := range built.Hashed {
		end := regexp.MustCompile(regexp.QuoteMeta(name) + "-[a-z0-9]{10}")
		for _, r := range built.Resources.Resources() {
			if now := r.GetName(); r.GetKind() == "Secret" && end.MatchString(now) {
				at := end.FindStringIndex(now)
				f.floating[now] = regexp.QuoteMeta(now[:at[1]-10]) + "[a-z0-9]{10}" + regexp.QuoteMeta(now[at[1]:])
			}
		}
	}
}

// references puts a mark in the place of each such name.
func (f *files) references(text []byte, m *marks) []byte {
	for name, pattern := range f.floating {
		if bytes.Contains(text, []byte(name)) {
			mark := m.like("the name of a Secret, which ends in a hash over decrypted content", pattern)
			text = bytes.ReplaceAll(text, []byte(name), []byte(mark))
		}
	}
	return text
}

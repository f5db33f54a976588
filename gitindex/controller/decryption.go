package controller

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/sops"
)

// ageEntry is how the entries of a Secret end that hold age identities, as
// Flux's own does (kustomize-controller v1.9.5, internal/decryptor).
const ageEntry = ".agekey"

// KeysOf takes the age identities out of the Secret that an Origin's
// spec.decryption names.
func KeysOf(origin string, secret map[string][]byte) (render.Keys, error) {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		if !strings.HasSuffix(name, ageEntry) {
			continue
		}
		text := string(secret[name])
		if _, err := sops.Identities([]string{text}); err != nil {
			return render.Keys{}, fmt.Errorf("the entry %q: %w", name, err)
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return render.Keys{}, errors.New("it has no entry whose name ends in " + ageEntry)
	}
	return render.NewKeys(origin, texts)
}

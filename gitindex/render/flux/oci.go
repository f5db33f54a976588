package flux

import (
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// Artifact is what the OCIRepository that the unit's Kustomization names holds,
// at its pin; nil where it names none that Git declares. It is for BuildHere.
func Artifact(src render.Sources, u render.Unit) (fs.FS, error) {
	k, err := decode(u)
	if err != nil {
		return nil, err
	}
	ref := k.source()
	if ref.Kind != "OCIRepository" {
		return nil, nil
	}
	raw, err := src.Declared(ref)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	address, err := ociAddress(raw)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", ref, err)
	}
	files, _, err := src.Base(address)
	if err != nil {
		return nil, err
	}
	if b, ok := files.(render.BaseFS); ok && b.BaseDir() != "." {
		return fs.Sub(files, b.BaseDir())
	}
	return files, nil
}

// ociAddress is an OCIRepository's content as elsewhere names it:
// oci://host/name:tag@digest. Flux takes the tag "latest" where none is named
// (source-controller, docs/spec/v1/ocirepositories.md).
func ociAddress(raw json.RawMessage) (string, error) {
	var r struct {
		Spec struct {
			URL    string  `json:"url"`
			Ignore *string `json:"ignore"`
			Ref    struct {
				Digest string `json:"digest"`
				SemVer string `json:"semver"`
				Tag    string `json:"tag"`
			} `json:"ref"`
			LayerSelector json.RawMessage `json:"layerSelector"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return "", fmt.Errorf("reading it: %w", err)
	}
	from := r.Spec.Ref
	switch {
	case len(r.Spec.LayerSelector) > 0, r.Spec.Ignore != nil:
		return "", fmt.Errorf("it chooses among its content (layerSelector, ignore), which cannot be followed")
	case from.SemVer != "" && from.Digest == "":
		return "", fmt.Errorf("it chooses its tag by semver %q: name a tag, or a digest", gitindex.Clean(from.SemVer, 60))
	}
	address := r.Spec.URL
	switch {
	case from.Digest != "":
		return address + "@" + from.Digest, nil
	case from.Tag != "":
		return address + ":" + from.Tag, nil
	}
	return address + ":latest", nil
}

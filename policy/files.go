package policy

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Files are the texts of a directory that are of use to policies, by their path
// in it.
type Files map[string][]byte

// FileKind tells by a file's name what it may hold.
type FileKind int

// The kinds of files. Of YAML, only what is Gatekeeper's counts.
const (
	None FileKind = iota
	Rego
	Data     // data.json and data.yaml: data under the directory that they lie in
	Manifest // .manifest of an OPA bundle
	YAML
)

// KindOf tells a file's kind.
func KindOf(name string) FileKind {
	base := path.Base(name)
	switch ext := path.Ext(base); {
	case base == ".manifest":
		return Manifest
	case strings.HasPrefix(base, "."):
		return None
	case base == "data.json", base == "data.yaml", base == "data.yml":
		return Data
	case ext == ".rego":
		return Rego
	case ext == ".yaml", ext == ".yml":
		return YAML
	}
	return None
}

const (
	maxFile  = 4 << 20
	maxAll   = 64 << 20
	maxFiles = 20_000
)

// gatekeepers are in all YAML that is Gatekeeper's. A directory may hold much other,
// which is then neither kept nor sent on, and may change without a trial.
var gatekeepers = [][]byte{[]byte("templates.gatekeeper.sh/"), []byte("constraints.gatekeeper.sh/")}

func isGatekeepers(text []byte) bool {
	return slices.ContainsFunc(gatekeepers, func(g []byte) bool { return bytes.Contains(text, g) })
}

// Collect reads the files that are of use. It follows no link.
func Collect(fsys fs.FS) (Files, error) {
	out, size := Files{}, 0
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !entry.Type().IsRegular() || KindOf(name) == None {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if len(text) > maxFile {
			return fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
		}
		if KindOf(name) == YAML && !isGatekeepers(text) {
			return nil
		}
		out[name] = text
		if size += len(text); size > maxAll || len(out) > maxFiles {
			return fmt.Errorf("more than %d files or %d MiB", maxFiles, maxAll>>20)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the policies: %w", err)
	}
	return out, nil
}

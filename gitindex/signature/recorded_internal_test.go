package signature

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/gitward/gitward/test/corpus"
)

var recordedArmor = regexp.MustCompile(`(?s)\ngpgsig (-----BEGIN ([A-Z ]+)-----\n.*?-----END [A-Z ]+-----)\n`)

// recordedArmors are the bodies of some real signatures, to begin fuzzing from.
// Without the corpus there are none, and the fuzzing begins from less.
func recordedArmors(t testing.TB, label string) [][]byte {
	t.Helper()
	dir, err := corpus.Find("signed-commits")
	if err != nil {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(dir, "mixed-*.batch"))
	var bodies [][]byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range recordedArmor.FindAllSubmatch(data, 12) {
			if string(m[2]) != label {
				continue
			}
			if _, body, err := dearmor(bytes.ReplaceAll(m[1], []byte("\n "), []byte("\n"))); err == nil {
				bodies = append(bodies, body)
			}
		}
	}
	return bodies
}

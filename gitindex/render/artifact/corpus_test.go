package artifact

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
)

type generator struct {
	Spec struct {
		Artifacts []struct {
			Name string
			Copy []struct {
				From, To, Strategy string
				Exclude            []string
			}
		}
	}
}

// TestCorpus lays out every artifact of the ArtifactGenerators of real
// repositories. Their one source is the repository, or the directory of it that
// its workflow pushes to a registry.
func TestCorpus(t *testing.T) {
	dir := filepath.Join(corpus.Dir(t), "flux")
	for _, c := range []struct {
		repository, root, generator string
		artifacts                   int
	}{
		{"flux2-kustomize-helm-example", "", "clusters/production/artifacts.yaml", 2},
		{"flux2-kustomize-helm-example", "", "clusters/staging/artifacts.yaml", 2},
		{"xunholy-k8s-gitops", "kubernetes", "kubernetes/apps/base/flux-system/artifact-generator/artifactgenerator.yaml", 92},
	} {
		tree := os.DirFS(filepath.Join(dir, c.repository))
		text, err := fs.ReadFile(tree, c.generator)
		if err != nil {
			t.Fatal(err)
		}
		artifacts, total := 0, 0
		for name, a := range artifactsOf(t, c.generator, text, c.root) {
			artifacts++
			view, err := View(tree, a)
			if err != nil {
				t.Errorf("%s: %s: %v", c.repository, name, err)
				continue
			}
			n, err := count(view)
			if err != nil || n == 0 {
				t.Errorf("%s: %s: %d files, %v", c.repository, name, n, err)
			}
			total += n
		}
		t.Logf("%s %s: %d artifacts, %d files", c.repository, c.generator, artifacts, total)
		if artifacts != c.artifacts {
			t.Errorf("%d artifacts were found", artifacts)
		}
	}
}

func artifactsOf(t *testing.T, name string, text []byte, root string) map[string]render.Artifact {
	t.Helper()
	objects, problems := render.File(name, text, render.Limits{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	out := map[string]render.Artifact{}
	for _, o := range objects {
		var g generator
		if err := json.Unmarshal(o.JSON, &g); err != nil {
			t.Fatal(err)
		}
		for i, a := range g.Spec.Artifacts {
			var made render.Artifact
			for _, c := range a.Copy {
				_, from, _ := strings.Cut(c.From, "/")
				made.Copies = append(made.Copies, render.Copy{Root: root, From: from, Exclude: c.Exclude, Strategy: c.Strategy,
					To: strings.TrimPrefix(c.To, "@artifact/")})
			}
			out[fmt.Sprintf("%d %s", i, a.Name)] = made
		}
	}
	return out
}

// count reads every file.
func count(files fs.FS) (n int, err error) {
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		_, err = fs.ReadFile(files, name)
		return err
	})
	return n, err
}

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
)

// TestPipelines runs the scripts of docs/ci: in a checkout where all is well, and
// in one where a policy refuses an object.
func TestPipelines(t *testing.T) {
	corpus.Programs(t, "bash", "git", "curl", "sha256sum")
	for page, scriptsOf := range map[string]func(map[string]any) []string{"github-actions": githubScripts, "gitlab-ci": gitlabScripts, "jenkins-x": jenkinsScripts} {
		for _, well := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, well is %v", page, well), func(t *testing.T) {
				p := newPipeline(t, well)
				scripts := pageScripts(t, "../../docs/ci/"+page+".md", scriptsOf)
				if len(scripts) < 2 {
					t.Fatalf("the page has %d scripts", len(scripts))
				}
				failed := false
				for _, script := range scripts {
					out, err := p.run(script)
					if err != nil {
						failed = true
					}
					t.Logf("%v\n%s", err, out)
				}
				if failed == well {
					t.Errorf("failed is %v", failed)
				}
				p.wantReports(well)
			})
		}
	}
}

// pipeline is a checkout, and what a forge has around it.
type pipeline struct {
	t         *testing.T
	dir, home string
	env       []string
}

const (
	pipelinePolicy = "# METADATA\n# title: Things have owners\npackage owner\n\ndeny contains \"no owner\" if not input.request.object.metadata.labels.owner\n"
	pipelineTest   = "package owner_test\n\nimport data.owner\n\ntest_owner if count(owner.deny) == 1 with input as {\"request\": {\"object\": {}}}\n"
	pipelineObject = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: shop, labels: {%s: ada}}}\n"
	pipelineGate   = "apiVersion: gitward.dev/v1alpha1\nkind: Gate\nmetadata: {name: default}\nspec: {action: Deny, match: {namespaces: [shop]}, origins: [{name: platform}], policies: [{origin: platform, path: policies}]}\n"
	pipelineOrigin = "apiVersion: gitward.dev/v1alpha1\nkind: Origin\nmetadata: {name: platform}\nspec:\n  url: https://git.example.org/platform.git\n  render: [{path: clusters/prod}]\n  signers: {secretRef: {name: signers}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: signers}\nstringData: {allowed_signers: %q}\n"
)

func newPipeline(t *testing.T, well bool) *pipeline {
	p := &pipeline{t: t, home: t.TempDir()}
	key, err := gitserver.NewSSHSigner()
	if err != nil {
		t.Fatal(err)
	}
	repo, err := gitserver.NewRepo(filepath.Join(p.home, "platform.git"))
	if err != nil {
		t.Fatal(err)
	}
	label := "owner"
	if !well {
		label = "stranger"
	}
	ada := gitindex.Person{Name: "Ada", Email: "ada@acme.dev"}
	if _, err := repo.Commit(gitserver.CommitOptions{Message: "the beginning", Author: ada, Committer: ada, Signer: key, Files: map[string]string{
		"clusters/prod/prices.yaml": fmt.Sprintf(pipelineObject, "prices", label),
		"policies/owner.rego":       pipelinePolicy, "policies/owner_test.rego": pipelineTest,
		"gitward/gate.yaml": pipelineGate, "gitward/origin.yaml": fmt.Sprintf(pipelineOrigin, "ada@acme.dev "+key.PublicLine),
	}}); err != nil {
		t.Fatal(err)
	}
	p.dir = filepath.Join(p.home, "checkout")
	if out, err := exec.Command("git", "clone", "-q", filepath.Join(p.home, "platform.git"), p.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// As forges do: no branch.
	if out, err := exec.Command("git", "-C", p.dir, "checkout", "-q", "--detach").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.surround()
	return p
}

// surround makes what a forge has around a script: its files, and a release.
func (p *pipeline) surround() {
	// The program of the tests is gitward if it is called so.
	program, err := exec.LookPath("gitward")
	if err != nil {
		p.t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		p.t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	p.env = append(os.Environ(), "HOME="+p.home, "XDG_CACHE_HOME="+filepath.Join(p.home, "cache"), "KUBECONFIG=/nowhere", "LANG=C.UTF-8",
		"GITWARD_URL=file://"+program, "GITWARD_SHA256="+hex.EncodeToString(sum[:]),
		"RUNNER_TEMP="+p.home, "GITHUB_PATH="+filepath.Join(p.home, "path"), "GITHUB_STEP_SUMMARY="+filepath.Join(p.home, "summary.md"))
}

func (p *pipeline) run(script string) (string, error) {
	cmd := exec.Command("bash", "-e", "-o", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = p.dir, p.env
	if added, err := os.ReadFile(filepath.Join(p.home, "path")); err == nil {
		cmd.Env = append(cmd.Env, "PATH="+strings.TrimSpace(string(added))+":"+os.Getenv("PATH"))
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// wantReports wants a report of some form, which names what is wrong.
func (p *pipeline) wantReports(well bool) {
	var all bytes.Buffer
	for _, pattern := range []string{"checkout/*.sarif", "checkout/*.xml", "checkout/.gitward.md", "summary.md"} {
		files, err := filepath.Glob(filepath.Join(p.home, pattern))
		if err != nil {
			p.t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				p.t.Fatal(err)
			}
			if len(data) == 0 {
				p.t.Errorf("%s is empty", file)
			}
			all.Write(data)
		}
	}
	if found := strings.Contains(all.String(), "no owner"); all.Len() == 0 || found == well {
		p.t.Errorf("of %d bytes of reports, the finding is there: %v", all.Len(), found)
	}
}

var fenced = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func pageScripts(t *testing.T, file string, scriptsOf func(map[string]any) []string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, block := range fenced.FindAllStringSubmatch(string(text), -1) {
		var doc map[string]any
		if err := yaml.Unmarshal([]byte(block[1]), &doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, scriptsOf(doc)...)
	}
	return out
}

// within is what lies at a path of keys and, for lists, of all elements ("*").
func within(v any, path ...string) []any {
	if len(path) == 0 {
		if v == nil {
			return nil
		}
		return []any{v}
	}
	switch v := v.(type) {
	case map[string]any:
		if path[0] != "*" {
			return within(v[path[0]], path[1:]...)
		}
		var out []any
		for _, one := range v {
			out = append(out, within(one, path[1:]...)...)
		}
		return out
	case []any:
		var out []any
		for _, one := range v {
			out = append(out, within(one, path[1:]...)...)
		}
		return out
	}
	return nil
}

func asTexts(list []any) []string {
	var out []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func githubScripts(doc map[string]any) []string {
	return asTexts(within(doc, "jobs", "*", "steps", "*", "run"))
}

// gitlabScripts joins before_script and script, as GitLab's runner does, without
// what only a container as root can do.
func gitlabScripts(doc map[string]any) []string {
	var before []string
	for _, line := range asTexts(within(doc, "gitward", "before_script", "*")) {
		if !strings.HasPrefix(line, "apt-get") {
			before = append(before, line)
		}
	}
	install := strings.Join(before, "\n")
	out := []string{install}
	for _, script := range asTexts(within(doc, "gitward", "script", "*")) {
		out = append(out, install+"\n"+script)
	}
	return out
}

func jenkinsScripts(doc map[string]any) []string {
	return asTexts(within(doc, "spec", "pipelineSpec", "tasks", "*", "taskSpec", "steps", "*", "script"))
}

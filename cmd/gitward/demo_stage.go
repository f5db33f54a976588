package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/gitserver"
)

// What the repository holds. The stage is a shop with one Deployment.
const (
	namespaceFile = "apps/namespace.yaml"
	webFile       = "apps/web.yaml"
	bannerFile    = "apps/banner.yaml"
	policyFile    = "policies/images.rego"

	namespaceYAML = `apiVersion: v1
kind: Namespace
metadata:
  name: shop
`
	bannerYAML = `apiVersion: v1
kind: ConfigMap
metadata: {name: banner, namespace: shop}
data:
  text: "Everything must go!"
`

	policyRego = `package images

# METADATA
# title: Images have a version
deny contains {"msg": msg, "fix": "name a version"} if {
	some container in input.request.object.spec.template.spec.containers
	endswith(container.image, ":latest")
	msg := sprintf("container %q has image %s", [container.name, container.image])
}
`

	firstImage    = "registry.shop.example/web:1.8.1"
	goodImage     = "registry.shop.example/web:1.8.2"
	latestImage   = "registry.shop.example/web:latest"
	hotfixImage   = "registry.shop.example/web:1.8.3-hotfix"
	strangerImage = "registry.evil.example/web:1.8.2"
)

func webYAML(image string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: web
          image: ` + image + `
          ports:
            - containerPort: 8080
`
}

// stage is the Git repository and the people who push to it.
type stage struct {
	repo   *gitserver.Repo
	server *gitserver.HTTP
	ada    *gitserver.SSHSigner
	ben    *gitserver.PGPSigner
	// mallory's key is a good one, only nobody here has ever heard of it.
	mallory *gitserver.SSHSigner
}

const repository = "platform.git"

func (s *stage) url() string { return s.server.URL + "/" + repository }

var people = map[string]gitindex.Person{
	"ada":     {Name: "Ada Lovelace", Email: "ada@shop.example"},
	"ben":     {Name: "Ben Okri", Email: "ben@shop.example"},
	"mallory": {Name: "Mallory", Email: "mallory@evil.example"},
}

// createRepository is scene 1.
func (d *demo) createRepository(ctx context.Context) error {
	s, err := d.newStage()
	if err != nil {
		return err
	}
	d.stage = s
	for _, row := range [][4]string{
		{"Ada", "SSH", s.ada.Fingerprint, "trusted"},
		{"Ben", "OpenPGP", s.ben.Fingerprint, "trusted"},
		{"Mallory", "SSH", s.mallory.Fingerprint, "a stranger"},
	} {
		d.screen.answer(fmt.Sprintf("%-8s signs with %-8s %-52s %s", row[0], row[1], row[2], row[3]))
	}
	if err := d.commit("ada", gitserver.CommitOptions{Message: "shop: a web shop",
		Files: map[string]string{namespaceFile: namespaceYAML, webFile: webYAML(firstImage), policyFile: policyRego}}, s.ada); err != nil {
		return err
	}
	if err := d.commit("ben", gitserver.CommitOptions{Message: "web: 1.8.2",
		Files: map[string]string{webFile: webYAML(goodImage)}}, s.ben); err != nil {
		return err
	}
	d.screen.why("A real Git server has it at " + s.url())
	return ctx.Err()
}

func (d *demo) newStage() (*stage, error) {
	s := &stage{}
	var err error
	if s.repo, err = gitserver.NewRepo(d.path("git", repository)); err != nil {
		return nil, fmt.Errorf("making a repository: %w", err)
	}
	if s.server, err = gitserver.NewHTTP(gitserver.HTTPOptions{Root: d.path("git"), TLS: true}); err != nil {
		return nil, fmt.Errorf("starting a Git server: %w", err)
	}
	d.atEnd(s.server.Close)
	if s.ada, err = gitserver.NewSSHSigner(); err != nil {
		return nil, fmt.Errorf("making Ada's key: %w", err)
	}
	if s.ben, err = gitserver.NewPGPSigner(people["ben"].Name, people["ben"].Email); err != nil {
		return nil, fmt.Errorf("making Ben's key: %w", err)
	}
	if s.mallory, err = gitserver.NewSSHSigner(); err != nil {
		return nil, fmt.Errorf("making Mallory's key: %w", err)
	}
	return s, nil
}

// commit has somebody commit and push; without a signer, unsigned.
func (d *demo) commit(who string, o gitserver.CommitOptions, signer gitserver.Signer) error {
	sign := "-S"
	if signer == nil {
		sign = "--no-gpg-sign"
	}
	d.screen.command(who, fmt.Sprintf("git commit %s -am %q && git push", sign, o.Message))
	o.Signer, o.When, o.Author, o.Committer = signer, time.Now(), people[who], people[who]
	id, err := d.stage.repo.Commit(o)
	if err != nil {
		return fmt.Errorf("committing %q: %w", o.Message, err)
	}
	d.screen.answer(fmt.Sprintf("[main %s] %s", gitindex.Short(id), o.Message))
	return nil
}

// settings are what an operator writes: two Secrets, an Origin and a Gate.
func (s *stage) settings() []string {
	return []string{
		secretYAML("platform-git", "ca.crt", string(s.server.CA)),
		secretYAML("platform-signers", "allowed_signers", people["ada"].Email+" "+s.ada.PublicLine,
			"ben.asc", string(s.ben.PublicKey)),
		`apiVersion: gitward.dev/v1alpha1
kind: Origin
metadata: {name: platform}
spec:
  url: ` + s.url() + `
  secretRef: {name: platform-git}                  # the Git server's authority
  signers: {secretRef: {name: platform-signers}}   # Ada's SSH key and Ben's OpenPGP key
`,
		`apiVersion: gitward.dev/v1alpha1
kind: Gate
metadata: {name: default}
spec:
  action: Deny
  match: {namespaces: [shop]}
  origins: [{name: platform}]
  policies: [{origin: platform, path: policies}]   # Rego, from the same commits
  breakGlass: {groups: [sre], reasonPattern: "INC-[0-9]+ .+", maxDuration: 2h}
`,
	}
}

const ownNamespace = "gitward-system"

func secretYAML(name string, pairs ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\nstringData:\n", name, ownNamespace)
	for i := 0; i < len(pairs); i += 2 {
		text := strings.ReplaceAll(strings.TrimRight(pairs[i+1], "\n"), "\n", "\n    ")
		fmt.Fprintf(&b, "  %s: |\n    %s\n", pairs[i], text)
	}
	return b.String()
}

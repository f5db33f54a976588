package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitward/gitward/test/gitserver"
)

// invite tells how to go on playing. Before that Ada takes back, signed, what
// was pushed in scene 5, so that main is as it should be.
func (d *demo) invite() error {
	if _, err := d.stage.repo.Commit(gitserver.CommitOptions{Message: "Take back what nobody signed for", Signer: d.stage.ada,
		Files: map[string]string{webFile: webYAML(goodImage)}, Delete: []string{bannerFile},
		Author: people["ada"], Committer: people["ada"], When: time.Now()}); err != nil {
		return err
	}
	if err := errors.Join(d.clone("ada", d.stage.ada), d.clone("mallory", d.stage.mallory)); err != nil {
		return err
	}
	d.screen.scene("…", "Now you")
	for _, group := range d.suggestions() {
		d.screen.line("\n  " + d.screen.paint(dim, "# "+group[0]))
		for _, l := range group[1:] {
			d.screen.line("  " + l)
		}
	}
	d.screen.line("")
	d.screen.why("gitward's log: " + d.path("gitward.log"))
	d.screen.why("decisions:     " + d.guard.records)
	d.screen.why("Ctrl-C ends everything and removes " + d.dir)
	return nil
}

// suggestions are things to try: a remark, then lines to type.
func (d *demo) suggestions() [][]string {
	change := func(from, to string) string {
		return fmt.Sprintf("sed -i s/%s/%s/ %s && git commit -am 'web: %s' && git push", from, to, webFile, to)
	}
	ada := []string{"Ada's clone: git signs with her key", "cd " + d.path("ada"), change("1.8.2", "1.9.0")}
	mallory := []string{"Mallory's clone: her key is good, but nobody here trusts it", "cd " + d.path("mallory") + " && git pull",
		change("1.9.0", "1.9.1")}
	if d.plane == nil {
		return [][]string{ada, mallory, {"reviews (admission.k8s.io/v1) go here, with " + d.path("tls", "ca.crt") + " to trust", d.guard.url + "/validate"}}
	}
	apply := "kubectl apply --server-side --force-conflicts -f " + webFile
	return [][]string{
		{"the cluster; " + filepath.Base(d.plane.Kubeconfig(dev)) + " beside it is the kubeconfig of dev", "export KUBECONFIG=" + d.plane.Kubeconfig(admin)},
		append(ada, apply),
		{"around Git: refused", "kubectl edit deployment web -n shop", "kubectl delete namespace shop"},
		append(mallory, apply),
	}
}

// clone makes a clone in which git signs with somebody's key.
func (d *demo) clone(who string, signer *gitserver.SSHSigner) error {
	keyFile := d.path("keys", who)
	if err := errors.Join(d.write(filepath.Join("keys", who), signer.PrivatePEM),
		d.write(filepath.Join("keys", who+".pub"), []byte(signer.PublicLine+"\n"))); err != nil {
		return err
	}
	args := []string{"clone", "-q"}
	for _, setting := range []string{"user.name=" + people[who].Name, "user.email=" + people[who].Email,
		"gpg.format=ssh", "user.signingkey=" + keyFile, "commit.gpgsign=true"} {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command("git", append(args, d.stage.repo.Dir, d.path(who))...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git clone: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

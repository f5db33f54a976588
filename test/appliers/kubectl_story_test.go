package appliers

import (
	"strings"
	"testing"

	"github.com/gitward/gitward/test/gitserver"
)

// TestKubectl: a job applies plain YAML, and what kustomize makes of an overlay,
// with kubectl's own commands. The Origin lists nothing: Gitward finds out what
// the directories are.
func TestKubectl(t *testing.T) {
	l := newLab(t)
	l.commit(merged(shop("kubectl-overlay"), plainShop("kubectl-plain")))
	job := l.actor("system:serviceaccount:ci:deployer")
	l.trust()
	l.noProblems()
	for _, k := range []kubectlStory{
		{lab: l, job: job, label: "kubectl-overlay", change: "overlay/settings.yaml", old: "overlay/old.yaml",
			file: func() string { return l.built("overlay") }},
		{lab: l, job: job, label: "kubectl-plain", change: "plain/settings.yaml", old: "plain/old.yaml", file: func() string { return l.path("plain") }},
	} {
		l.chapter(k.label, k.play)
	}
	l.chapter("refused", func(t *testing.T) { l.kubectlAttacks(job) })
}

// kubectlStory is one set of objects, all with a label of its own, in the
// namespace of the same name.
type kubectlStory struct {
	*lab
	job         *actor
	label       string
	change, old string // files to change and to remove
	file        func() string
}

func (k kubectlStory) play(*testing.T) {
	plain := []string{"apply", "-f"}
	server := []string{"apply", "--server-side", "--force-conflicts", "-f"}
	k.runs("client-side apply", append(plain, k.file())...)
	k.runs("client-side apply again", append(plain, k.file())...)
	k.runs("server-side dry run", "apply", "--dry-run=server", "-f", k.file())
	k.runs("diff", "diff", "-f", k.file())
	k.commit(map[string]string{k.change: strings.ReplaceAll(k.files[k.change], "red", "green")})
	k.runs("client-side apply of a change", append(plain, k.file())...)
	k.runs("server-side apply after client-side", append(server, k.file())...)
	k.runs("server-side apply again", append(server, k.file())...)
	k.commit(map[string]string{k.change: strings.ReplaceAll(k.files[k.change], "green", "blue")})
	k.runs("server-side apply of a change", append(server, k.file())...)
	k.runs("replace", "replace", "-f", k.file())
	k.commit(map[string]string{k.change: strings.ReplaceAll(k.files[k.change], "blue", "yellow")})
	k.runs("replace with a change", "replace", "-f", k.file())
	k.runs("client-side apply after replace", append(plain, k.file())...)
	k.prune()
}

// prune removes a file, which kubectl then prunes by the label.
func (k kubectlStory) prune() {
	k.t.Helper()
	if kustomization := k.files["overlay/kustomization.yaml"]; strings.HasPrefix(k.old, "overlay/") {
		k.commit(map[string]string{"overlay/kustomization.yaml": strings.ReplaceAll(kustomization, "old.yaml, ", "")}, k.old)
	} else {
		k.commit(nil, k.old)
	}
	k.runs("prune", "apply", "--prune", "-l", "app.kubernetes.io/part-of="+k.label, "-f", k.file())
	if k.exists("v1 ConfigMap " + k.label + "/old") {
		k.t.Error("it is not pruned")
	}
	if !k.exists("v1 ConfigMap " + k.label + "/settings") {
		k.t.Error("too much is pruned")
	}
}

func (k kubectlStory) runs(what string, args ...string) {
	k.t.Helper()
	k.runsAs(k.job, what, args...)
}

// runsAs runs kubectl, all of whose requests must be admitted.
func (l *lab) runsAs(a *actor, what string, args ...string) {
	l.t.Helper()
	out, err := a.kubectl(args...)
	if err != nil {
		l.t.Errorf("%s: %.1500v\n%.1500s", what, err, out)
	}
	a.tell(l.t, what)
}

// kubectlAttacks are edits of what Git declares, and content that Git has
// elsewhere than on main.
func (l *lab) kubectlAttacks(job *actor) {
	kubectl := func(name string, args ...string) attack {
		return attack{name: name, do: func(dry bool) error {
			if dry {
				args := append(append([]string{}, args...), "--dry-run=server")
				_, err := job.kubectl(args...)
				return err
			}
			_, err := job.kubectl(args...)
			return err
		}}
	}
	const in = "--namespace=kubectl-plain"
	base, err := l.kustomize("base")
	l.check(err)
	branch := strings.ReplaceAll(l.files["plain/settings.yaml"], "yellow", "rotten")
	must(l.repo.Commit(gitserver.CommitOptions{Files: map[string]string{"plain/settings.yaml": branch}, Signer: l.signer, Message: "not merged",
		Ref: "refs/heads/feature", Parents: []string{l.repo.Ref(gitserver.MainRef)}}))
	web := strings.ReplaceAll(l.files["plain/web.yaml"], "web:1", "web:2")
	l.refuses(job,
		kubectl("set image", "set", "image", in, "deployment/web", "web=registry.example.org/web:2"),
		kubectl("scale", "scale", in, "deployment/web", "--replicas=5"),
		kubectl("label", "label", in, "deployment/web", "team=other"),
		kubectl("label for another unit", "label", in, "--overwrite", "deployment/web", "app.kubernetes.io/part-of=kubectl-overlay"),
		restart(job, in),
		kubectl("an edit as kustomize-controller", "apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller", "-f", l.beside("web.yaml", web)),
		kubectl("an edit, client side", "apply", "-f", l.beside("web.yaml", web)),
		kubectl("an edit by replace", "replace", "-f", l.beside("web.yaml", web)),
		kubectl("a patch", "patch", in, "configmap/settings", "--type=merge", "-p", `{"data":{"apple":"rotten"}}`),
		kubectl("the base beside its overlay", "apply", "--namespace=kubectl-overlay", "-f", l.beside("base.yaml", base)),
		kubectl("the base where nothing is", "apply", "--namespace=default", "-f", l.beside("base.yaml", base)),
		kubectl("a branch that is not merged", "apply", "-f", l.beside("settings.yaml", branch)),
		kubectl("deletion of what Git has", "delete", in, "configmap/settings", "--wait=false"),
	)
}

// restart has no dry run: without the gate, the same patch is sent as one.
func restart(job *actor, in string) attack {
	return attack{name: "rollout restart", do: func(dry bool) error {
		if dry {
			_, err := job.kubectl("patch", in, "deployment/web", "--dry-run=server", "-p",
				`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-01-01T00:00:00Z"}}}}}`)
			return err
		}
		_, err := job.kubectl("rollout", "restart", in, "deployment/web")
		return err
	}}
}

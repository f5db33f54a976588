package appliers

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/server"
)

// notServed are kinds of the corpus that the API server has no more, or not in
// that version, and configurations of webhooks that are not there: they would
// have the API server refuse what comes after them.
var notServed = regexp.MustCompile(`(?m)^apiVersion: (policy/v1beta1|batch/v1beta1|autoscaling/v2beta1)|^kind: (Validating|Mutating)WebhookConfiguration`)

// TestJenkinsX: a repository of Jenkins X 3 as its pipeline committed it, by the
// command that its Makefile has.
func TestJenkinsX(t *testing.T) {
	l := newLab(t)
	job := l.actor("system:serviceaccount:jx-git-operator:jx-boot-job")
	files := l.copied(filepath.Join(corpus.Dir(t), "ci/jenkinsx-jx3-gke/config-root"), "config-root")
	var left []string
	for _, name := range sorted(files) {
		if notServed.MatchString(files[name]) {
			left = append(left, name)
			delete(files, name)
		}
	}
	t.Logf("%d files, %d more left out: %q", len(files), len(left), left)
	l.commit(files)
	l.trust(v1alpha1.Render{Path: "config-root"})
	l.chapter("first", func(*testing.T) { l.jenkinsX(job, "--server-side=true", "--force-conflicts") })
	l.chapter("older streams", func(*testing.T) {
		// Client-side apply over server-side apply fails for a Job, whatever the
		// gate does: it takes off the labels that the API server gave its Pods.
		l.commit(nil, l.allOf("config-root/", "kind: Job\n")...)
		l.jenkinsX(job, "--prune")
	})
	l.chapter("a change, and what is pruned", func(t *testing.T) {
		const deploy = "config-root/namespaces/jx/chartmuseum/jenkins-x-chartmuseum-deploy.yaml"
		old := l.firstOf("config-root/namespaces/jx/", "kind: ConfigMap")
		gone := l.files[old]
		l.commit(map[string]string{deploy: strings.Replace(l.files[deploy], "replicas: 1", "replicas: 2", 1)}, old)
		name := parse(t, gone)[0].GetName()
		l.jenkinsXParts(job, []string{"namespaces"}, "--prune")
		if l.exists("v1 ConfigMap jx/" + name) {
			t.Errorf("ConfigMap jx/%s is not pruned", name)
		}
	})
	l.chapter("refused", func(*testing.T) { l.jenkinsXAttacks(job) })
}

// allOf are the files below a directory that have a text.
func (l *lab) allOf(dir, text string) []string {
	return slices.DeleteFunc(sorted(l.files), func(n string) bool { return !strings.HasPrefix(n, dir) || !strings.Contains(l.files[n], text) })
}

// firstOf is the first of them.
func (l *lab) firstOf(dir, text string) string {
	l.t.Helper()
	names := l.allOf(dir, text)
	if len(names) == 0 {
		l.t.Fatalf("no file below %s has %q", dir, text)
	}
	return names[0]
}

// jenkinsX is what the versionStream's Makefile runs: kubectl apply
// --server-side=true --force-conflicts --prune -l gitops.jenkins-x.io/pipeline=…
// -R -f config-root/…, which kubectl refuses by now: it prunes only what it
// applied client side, as older streams do it.
func (l *lab) jenkinsX(job *actor, how ...string) {
	l.t.Helper()
	l.jenkinsXParts(job, []string{"customresourcedefinitions", "cluster", "namespaces"}, how...)
}

func (l *lab) jenkinsXParts(job *actor, parts []string, how ...string) {
	l.t.Helper()
	for _, part := range parts {
		args := append([]string{"apply"}, how...)
		l.runsAs(job, strings.Join(append(how, part), " "), append(args, "-l", "gitops.jenkins-x.io/pipeline="+part, "-R", "-f", l.path("config-root/"+part))...)
	}
}

// jenkinsXAttacks: the pipeline's bot commits without a signature, before or
// after it applies.
func (l *lab) jenkinsXAttacks(job *actor) {
	l.t.Helper()
	deploy := l.firstOf("config-root/namespaces/jx/", "kind: Deployment")
	bot := strings.Replace(l.files[deploy], "image: ", "image: registry.example.org/evil/", 1)
	l.write(l.path(deploy), bot)
	apply := func(name string) attack {
		return attack{name: name, do: func(dry bool) error {
			_, err := job.kubectl(dryly(dry, "apply", "--server-side", "--force-conflicts", "-f", l.path(deploy))...)
			return err
		}}
	}
	l.refuses(job, apply("what is not pushed yet"))
	must(l.repo.Commit(gitserver.CommitOptions{Files: map[string]string{deploy: bot}, Message: "chore: regenerated"}))
	l.refuses(job, apply("an unsigned commit of the bot"))
	l.refuses(job, attack{name: "the annotation of a pipeline's last step", do: func(dry bool) error {
		_, err := job.kubectl(dryly(dry, "patch", "-f", l.beside("deploy.yaml", l.files[deploy]), "--type=merge", "-p",
			`{"spec":{"template":{"metadata":{"annotations":{"git.jenkins-x.io/sha":"0123456"}}}}}`)...)
		return err
	}})
	l.commit(map[string]string{deploy: bot + "# looked at\n"})
	l.runsAs(job, "the same, signed", "apply", "--server-side", "--force-conflicts", "-f", l.path(deploy))
}

// TestGitLab: manifests that a GitLab pipeline hydrated and committed.
func TestGitLab(t *testing.T) {
	l := newLab(t)
	job := l.actor("gitlab:ci_job:42")
	l.commit(l.copied(filepath.Join(corpus.Dir(t), "ci/gitlab-k8s-agents-springblade"), ""))
	l.trust(v1alpha1.Render{Path: "manifests"})
	l.noProblems()
	file := "manifests/spring-blade.dev.yaml"
	// One Service of this repository is none that Kubernetes takes.
	const invalid = `Service "dev-nacos" is invalid`
	l.chapter("applied", func(*testing.T) {
		for _, args := range [][]string{{"apply"}, {"apply"}, {"apply", "--server-side", "--force-conflicts"}} {
			out, err := job.kubectl(append(args, "-f", l.path(file))...)
			if err == nil || strings.Count(err.Error(), invalid) != 1 || server.Refused(err) {
				l.t.Errorf("%v: %v\n%s", args, err, out)
			}
			job.tell(l.t, strings.Join(args, " "))
		}
	})
	l.chapter("refused", func(*testing.T) {
		name, deployments := l.deploymentsIn(file)
		l.refuses(job,
			attack{name: "an image tag that the job sets", do: func(dry bool) error {
				_, err := job.kubectl(dryly(dry, "set", "image", "-n", "springblade-dev", "deployment/"+name, "*=registry.example.org/evil:1")...)
				return err
			}},
			l.apply(job, "manifests that a job hydrated anew", strings.ReplaceAll(deployments, "image: ", "image: registry.example.org/evil/")),
		)
	})
}

// deploymentsIn are the Deployments of a file, and the name of one.
func (l *lab) deploymentsIn(file string) (name, text string) {
	for _, u := range parse(l.t, l.files[file]) {
		if u.GetKind() == "Deployment" {
			name = u.GetName()
			text += "---\n" + string(must(yaml.Marshal(u.Object)))
		}
	}
	return name, text
}

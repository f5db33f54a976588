package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gitward/gitward/test/interop/tools"
	"github.com/gitward/gitward/test/server"
)

// prepare makes the three programs ready to start.
func (a *argo) prepare() {
	a.t.Helper()
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		a.t.Fatal("redis-server is not installed: apt-get install redis-server")
	}
	cache, repos, metrics, metrics2 := server.FreePort(a.t), server.FreePort(a.t), server.FreePort(a.t), server.FreePort(a.t)
	a.redis = a.program("redis", redis, nil, "--port", fmt.Sprint(cache), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", a.dirOf("redis"))
	a.redis.health = fmt.Sprintf("127.0.0.1:%d", cache)

	certificates := a.dirOf("certificates")
	a.check(os.WriteFile(filepath.Join(certificates, "127.0.0.1"), a.server.CA, 0o600))
	env := []string{"ARGOCD_TLS_DATA_PATH=" + certificates, "ARGOCD_SSH_DATA_PATH=" + a.dirOf("ssh"), "ARGOCD_GPG_ENABLED=false", "ARGOCD_FAKE_IN_CLUSTER=true",
		"HOME=" + a.dirOf("home"), "TMPDIR=" + a.dirOf("tmp"), "ARGOCD_CONTROLLER_SHARD=0", "ARGOCD_CONTROLLER_REPLICAS=1"}
	// Its image has this script of its own source on the PATH.
	dir, err := tools.ArgoCD.Sources(context.Background())
	a.check(err)
	script, err := os.ReadFile(filepath.Join(dir, "hack", "git-verify-wrapper.sh"))
	a.check(err)
	a.check(os.WriteFile(filepath.Join(a.dirOf("bin"), "git-verify-wrapper.sh"), script, 0o755))
	for _, tool := range []tools.Tool{tools.Kustomize, tools.Helm} {
		a.check(os.Symlink(program(a.t, tool), filepath.Join(a.dirOf("bin"), tool.Name)))
	}
	env = append(env, "PATH="+a.dirOf("bin")+":"+os.Getenv("PATH"))
	path := program(a.t, tools.ArgoCD)
	a.repos = a.program("argocd-repo-server", path, env, "repo-server", "--address", "127.0.0.1", "--port", fmt.Sprint(repos), "--disable-tls", "--client-ca-path=",
		"--metrics-address", "127.0.0.1", "--metrics-port", fmt.Sprint(metrics), "--redis", a.redis.health, "--revision-cache-expiration", "1s")
	a.repos.health = fmt.Sprintf("127.0.0.1:%d", repos)
	a.controller = a.program(argoController, path, env, "application-controller", "--repo-server", a.repos.health, "--repo-server-plaintext",
		"--metrics-port", fmt.Sprint(metrics2), "--redis", a.redis.health, "--namespace", argoNamespace,
		"--app-resync", fmt.Sprint(a.resync), "--app-resync-jitter", "0", "--self-heal-timeout-seconds", "1")
	a.controller.health = fmt.Sprintf("http://127.0.0.1:%d/healthz", metrics2)
	for _, d := range []*daemon{a.repos, a.controller} {
		a.account(d, argoNamespace, d.Name, filepath.Join(a.dir, d.Name+".kubeconfig"))
	}
}

// prepareSets makes the controller of ApplicationSets ready to start too.
func (a *argo) prepareSets() {
	a.t.Helper()
	metrics, probe, webhook := server.FreePort(a.t), server.FreePort(a.t), server.FreePort(a.t)
	a.sets = a.program(argoSets, program(a.t, tools.ApplicationSets), a.repos.Env[1:], "--argocd-repo-server", a.repos.health, "--repo-server-plaintext",
		"--metrics-addr", fmt.Sprintf("127.0.0.1:%d", metrics), "--probe-addr", fmt.Sprintf("127.0.0.1:%d", probe),
		"--webhook-addr", fmt.Sprintf("127.0.0.1:%d", webhook), "--namespace", argoNamespace)
	a.sets.health = fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics) // it has no other page
	a.account(a.sets, argoNamespace, a.sets.Name, filepath.Join(a.dir, a.sets.Name+".kubeconfig"))
}

// patience grows with what Argo CD has to look at.
func (a *argo) patience() time.Duration {
	return patience + time.Duration(len(a.applications))*5*time.Second
}

func (a *argo) program(name, path string, env []string, args ...string) *daemon {
	a.t.Helper()
	d := &daemon{Process: server.Process{Name: name, Path: path, Args: args, Log: filepath.Join(a.dir, name+".log"),
		Env: append([]string{"KUBECONFIG=" + filepath.Join(a.dir, name+".kubeconfig")}, env...)}}
	a.t.Cleanup(d.Stop)
	return d
}

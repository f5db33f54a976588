package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Options say what control plane to start. The zero value is an API server
// with nobody but Admin, in a temporary directory.
type Options struct {
	// Dir gets the data, keys, kubeconfigs and logs. It should be empty. When it
	// is not named, a temporary directory is made, and Stop removes it.
	Dir string
	// ControllerManager runs kube-controller-manager too, each controller under
	// its own service account as kubeadm has it: namespaces get a default
	// ServiceAccount, Deployments get ReplicaSets and those get Pods.
	ControllerManager bool
	Users             []User
	// ExtraAPIServerArgs come last, so they win.
	ExtraAPIServerArgs []string
	// AuditLog has the API server write audit.log, at the Metadata level: one
	// line a request with its user, verdict and audit annotations.
	AuditLog bool
	// Output is told the progress of getting the programs. It may be nil.
	Output io.Writer
}

// programs is what the options need.
func (o Options) programs() []string {
	if o.ControllerManager {
		return allPrograms
	}
	return justServers
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	Dir  string
	Host string // https://127.0.0.1:port
	CA   []byte // PEM

	options  Options
	binaries Binaries
	users    []User
	etcdURL  string

	mu                                 sync.Mutex
	etcd, apiServer, controllerManager *process
	ownDir, stopped                    bool
}

// Start runs a control plane and waits until it answers, with the default
// namespace and, with a controller manager, its ServiceAccount there. An error
// quotes the end of the log that explains it.
func Start(ctx context.Context, options Options) (*ControlPlane, error) {
	binaries, err := workshopFromEnv().ensure(ctx, options.Output, options.programs())
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{Dir: options.Dir, options: options, binaries: binaries, users: withHouse(options.Users)}
	if err := checkUsers(cp.users); err != nil {
		return nil, err
	}
	if err := cp.prepare(); err != nil {
		return nil, fmt.Errorf("preparing a control plane: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := cp.run(ctx); err != nil {
		cp.end()
		return nil, err
	}
	return cp, nil
}

// prepare makes the directory and what does not depend on a port.
func (cp *ControlPlane) prepare() error {
	if cp.Dir == "" {
		sweep()
		dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", tempPrefix, os.Getpid()))
		if err != nil {
			return err
		}
		cp.Dir, cp.ownDir = dir, true
	}
	if err := os.MkdirAll(cp.Dir, 0o700); err != nil {
		return err
	}
	ca, err := writeKeys(cp.Dir)
	if err != nil {
		return err
	}
	cp.CA = ca
	if err := os.WriteFile(cp.path("audit-policy.yaml"), []byte(auditPolicy), 0o644); err != nil {
		return err
	}
	return writeTokens(cp.path("tokens.csv"), cp.users)
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

func (cp *ControlPlane) path(name string) string { return filepath.Join(cp.Dir, name) }

// run starts the programs, each when the one it needs is ready.
func (cp *ControlPlane) run(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if err := onFreePort(func(port int) error { return cp.startEtcd(ctx, port) }); err != nil {
		return err
	}
	if err := onFreePort(func(port int) error {
		cp.Host = fmt.Sprintf("https://127.0.0.1:%d", port)
		return cp.startAPIServer(ctx)
	}); err != nil {
		return err
	}
	if err := cp.writeKubeconfigs(); err != nil {
		return err
	}
	if !cp.options.ControllerManager {
		return nil
	}
	return cp.startControllerManager(ctx)
}

// onFreePort has something started on a port that was free a moment ago. If
// somebody took the port in that moment, it tries others.
func onFreePort(start func(port int) error) error {
	for attempt := 1; ; attempt++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		port := listener.Addr().(*net.TCPAddr).Port
		listener.Close()
		err = start(port)
		taken := err != nil && errors.Is(err, errEnded) && strings.Contains(err.Error(), "address already in use")
		if !taken || attempt == 5 {
			return err
		}
	}
}

func (cp *ControlPlane) startEtcd(ctx context.Context, port int) (err error) {
	cp.etcdURL = fmt.Sprintf("http://127.0.0.1:%d", port)
	cp.etcd, err = cp.launch(Etcd,
		"--name=gitward", "--data-dir="+cp.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+cp.etcdURL, "--advertise-client-urls="+cp.etcdURL,
		"--listen-peer-urls=http://127.0.0.1:0", "--initial-advertise-peer-urls=http://127.0.0.1:1",
		"--initial-cluster=gitward=http://127.0.0.1:1")
	if err != nil {
		return err
	}
	return cp.etcd.await(ctx, func(ctx context.Context) error { return answers(ctx, cp.etcdURL+"/health") })
}

// startAPIServer runs the API server at cp.Host. It advertises loopback and
// keeps no endpoints of itself: so it starts on a machine without a network.
func (cp *ControlPlane) startAPIServer(ctx context.Context) (err error) {
	args := []string{
		"--etcd-servers=" + cp.etcdURL,
		"--bind-address=127.0.0.1", "--secure-port=" + cp.Host[strings.LastIndexByte(cp.Host, ':')+1:],
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + cp.path("apiserver.crt"), "--tls-private-key-file=" + cp.path("apiserver.key"),
		"--token-auth-file=" + cp.path("tokens.csv"), "--authorization-mode=RBAC", "--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + cp.path("sa.pub"), "--service-account-signing-key-file=" + cp.path("sa.key"),
		"--service-cluster-ip-range=10.0.0.0/24", "--shutdown-delay-duration=0s", "--profiling=false",
	}
	if !cp.options.ControllerManager {
		// Nobody makes the ServiceAccounts that this plugin wants Pods to have.
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	if cp.options.AuditLog {
		args = append(args, "--audit-policy-file="+cp.path("audit-policy.yaml"), "--audit-log-path="+cp.path("audit.log"))
	}
	cp.apiServer, err = cp.launch(APIServer, append(args, cp.options.ExtraAPIServerArgs...)...)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cp.RESTConfig(Admin))
	if err != nil {
		return err
	}
	return cp.apiServer.await(ctx, func(ctx context.Context) error {
		if err := client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
			return err
		}
		_, err := client.CoreV1().Namespaces().Get(ctx, corev1.NamespaceDefault, metav1.GetOptions{})
		return err
	})
}

func (cp *ControlPlane) startControllerManager(ctx context.Context) (err error) {
	cp.controllerManager, err = cp.launch(ControllerManager,
		"--kubeconfig="+cp.Kubeconfig(controllerManagerUser), "--use-service-account-credentials=true",
		"--service-account-private-key-file="+cp.path("sa.key"), "--root-ca-file="+cp.path("ca.crt"),
		"--leader-elect=false", "--secure-port=0", "--profiling=false",
		// No need to be polite: all controllers ask for their tokens at once.
		"--kube-api-qps=500", "--kube-api-burst=1000")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cp.RESTConfig(Admin))
	if err != nil {
		return err
	}
	return cp.controllerManager.await(ctx, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(corev1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// launch starts a program that logs to a file of its name in Dir.
func (cp *ControlPlane) launch(program string, args ...string) (*process, error) {
	return start(program, cp.path(program+".log"), exec.Command(cp.binaries.Path(program), args...))
}

// answers asks for a page.
func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}

// Processes are the pids of what runs, by program: for tests that stop or kill
// one of them. They are nobody else's.
func (cp *ControlPlane) Processes() map[string]int {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	pids := map[string]int{}
	for _, p := range []*process{cp.etcd, cp.apiServer, cp.controllerManager} {
		if p != nil && !p.ended() {
			pids[p.name] = p.cmd.Process.Pid
		}
	}
	return pids
}

// Log is the file with what a program said. It outlives a restart.
func (cp *ControlPlane) Log(program string) string { return cp.path(program + ".log") }

// RestartAPIServer ends the API server, if it still runs, and starts it again
// at the same address with the same data.
func (cp *ControlPlane) RestartAPIServer(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		return errors.New("the control plane was stopped")
	}
	cp.apiServer.stop(patience)
	return cp.startAPIServer(ctx)
}

// patience is how long a program has to end by itself. What they would still
// write is thrown away, so it is short.
const patience = 2 * time.Second

// Stop ends the control plane's processes and no others, and removes its
// directory if Start made it. A second Stop does nothing.
func (cp *ControlPlane) Stop() { cp.end() }

func (cp *ControlPlane) end() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		return
	}
	cp.stopped = true
	for _, p := range []*process{cp.controllerManager, cp.apiServer, cp.etcd} {
		p.stop(patience)
	}
	if cp.ownDir {
		os.RemoveAll(cp.Dir)
	}
}

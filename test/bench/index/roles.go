//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/controller"
	"github.com/gitward/gitward/gitindex/signature"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/webhook"
)

// roleVariable says which part a child plays. Its task comes on stdin, what it
// found goes to stdout, both as JSON; it ends when stdin does.
const roleVariable = "GITWARD_BENCH_ROLE"

// task is what a child is to do.
type task struct {
	Dir     string // of the state, or of the repositories to serve
	URL     string
	Signer  string
	Profile string

	Repo string // the bare repository behind URL, to commit to
	Key  []byte // to sign with

	Objects int
	Restart bool      // the state is there already
	Began   time.Time // when the child was started
}

// What the children find.
type (
	indexed struct {
		Sync, Save, Wall time.Duration
		Objects          int
	}
	followed struct{ Visible, Total, Save []time.Duration }
	served   struct {
		Answered              time.Duration
		RSS, Peak, Heap, File int64
	}
)

// child is a running copy of this program.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *json.Decoder
}

func start(role string, t task) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.Began = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd, stdin, json.NewDecoder(stdout)}
	return c, json.NewEncoder(stdin).Encode(t)
}

func (c *child) read(into any) error { return c.stdout.Decode(into) }

func (c *child) stop() error {
	return errors.Join(c.stdin.Close(), c.cmd.Wait())
}

// call runs a child to its end and reads the one answer it gives.
func call(role string, t task, into any) error {
	c, err := start(role, t)
	if err != nil {
		return err
	}
	readErr := c.read(into)
	if err := c.stop(); err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	return readErr
}

// play is a child's whole life.
func play(role string) error {
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	profile, err := startProfile(t.Profile, role)
	if err != nil {
		return err
	}
	found, err := roles[role](&t)
	if err := errors.Join(err, profile()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

var roles map[string]func(*task) (any, error)

func init() {
	roles = map[string]func(*task) (any, error){"server": serveGit, "index": index, "follow": follow, "serve": serve}
}

// startProfile begins a CPU profile, and ends it with a heap profile beside it.
func startProfile(dir, role string) (stop func() error, err error) {
	if dir == "" || role == "server" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(dir, role+".cpu"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		heap, err := os.Create(filepath.Join(dir, role+".heap"))
		if err != nil {
			return err
		}
		return errors.Join(pprof.WriteHeapProfile(heap), heap.Close(), f.Close())
	}, nil
}

// serveGit is the Git server, until stdin ends.
func serveGit(t *task) (any, error) {
	h, err := gitserver.NewHTTP(gitserver.HTTPOptions{Root: t.Dir})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	if err := json.NewEncoder(os.Stdout).Encode(h.URL); err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return nil, err
}

func (t *task) settings() (controller.Settings, error) {
	keyring, err := signature.NewKeyring(map[string][]byte{"allowed_signers": []byte("ada@example.org " + t.Signer + "\n")})
	o := v1alpha1.Origin{Spec: v1alpha1.OriginSpec{URL: t.URL, Ref: &v1alpha1.GitRef{Branch: "main"}}}
	o.SetDefaults()
	return controller.Settings{Name: "platform", Spec: o.Spec, Keyring: keyring, Dir: t.Dir, Timeout: 5 * time.Minute, Now: time.Now}, err
}

// index makes the first index of a repository.
func index(t *task) (any, error) {
	settings, err := t.settings()
	if err != nil {
		return nil, err
	}
	began, spent := time.Now(), cpu()
	tracker, err := controller.NewTracker(settings)
	if err != nil {
		return nil, err
	}
	defer tracker.Close()
	snapshot, err := tracker.Sync(context.Background())
	if err != nil {
		return nil, err
	}
	synced := cpu()
	out := indexed{Sync: synced - spent, Wall: time.Since(began), Objects: snapshot.Count()}
	if len(snapshot.Held) > 0 {
		return nil, fmt.Errorf("%d files are held back", len(snapshot.Held))
	}
	err = tracker.Save()
	out.Save = cpu() - synced
	return out, err
}

// follow adds commits that change one file each, and sees how long they take to
// be published. The fetch goes through a proxy, which knows when its last byte
// came; so the time spent on unpacking it counts as Gitward's.
func follow(t *task) (any, error) {
	proxy, ended, err := watch(t)
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	settings, err := t.settings()
	if err != nil {
		return nil, err
	}
	tracker, err := controller.NewTracker(settings)
	if err != nil {
		return nil, err
	}
	defer tracker.Close()
	before, err := tracker.Sync(context.Background())
	if err != nil {
		return nil, err
	}
	commit, err := committer(t, before)
	if err != nil {
		return nil, err
	}
	var out followed
	for range 15 {
		ref, id, err := commit()
		if err != nil {
			return nil, err
		}
		asked := time.Now()
		after, err := tracker.Sync(context.Background())
		published := time.Now()
		if err != nil {
			return nil, err
		}
		if e := after.Lookup(ref); e == nil || e.Current[0].Commit.ID != id {
			return nil, fmt.Errorf("%s is not from %s", ref, id)
		}
		if err := tracker.Save(); err != nil {
			return nil, err
		}
		out.Visible = append(out.Visible, published.Sub(time.Unix(0, ended.Load())))
		out.Total = append(out.Total, published.Sub(asked))
		out.Save = append(out.Save, time.Since(published))
	}
	return out, nil
}

// watch puts a proxy before the Git server, at an address that is the same in
// every run, and notes when the last answer's last byte has passed it.
func watch(t *task) (*httptest.Server, *atomic.Int64, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, nil, err
	}
	ended := &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: u.Scheme, Host: u.Host})
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Body = &noted{r.Body, ended}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.URL = server.URL + u.Path
	return server, ended, nil
}

type noted struct {
	io.ReadCloser
	ended *atomic.Int64
}

func (n *noted) Read(p []byte) (int, error) {
	got, err := n.ReadCloser.Read(p)
	if err != nil {
		n.ended.Store(time.Now().UnixNano())
	}
	return got, err
}

// committer changes one object of the index in each call.
func committer(t *task, s *gitindex.Snapshot) (func() (gitindex.Ref, string, error), error) {
	repo, err := gitserver.NewRepo(t.Repo)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(t.Key)
	if err != nil {
		return nil, err
	}
	dice := rand.New(rand.NewPCG(1, 1))
	return func() (gitindex.Ref, string, error) {
		i := dice.IntN(s.Count())
		ref := gitindex.Ref{Group: "apps", Kind: "Deployment", Namespace: team(i), Name: app(i)}
		id, err := repo.Commit(gitserver.CommitOptions{Message: "one file", Signer: &gitserver.SSHSigner{Key: key}, When: time.Now(),
			Files: map[string]string{file(i): manifest(i, time.Now().Format("20060102.150405.000000"))}})
		return ref, id, err
	}, nil
}

// serve is what `gitward serve` is after its configuration has been read: a hub
// with one Origin, and the webhook's handler on what it publishes.
func serve(t *task) (any, error) {
	settings, err := t.settings()
	if err != nil {
		return nil, err
	}
	schemas, _ := canonical.New()
	var view atomic.Pointer[gate.View]
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	rules := []gate.Rule{{Name: "all", ClusterScoped: true, Author: true, Lag: time.Minute, Origins: []gate.Source{{Origin: "platform"}}}}
	hub := &controller.Hub{Log: log, Publish: func(x gitindex.Index) { view.Store(&gate.View{Index: x, Schemas: schemas, Rules: rules}) }}
	defer hub.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := hub.Set(ctx, settings); err != nil {
		return nil, err
	}
	if !t.Restart {
		if err := hub.Sync(ctx, "platform"); err != nil {
			return nil, err
		}
	}
	h := &webhook.Handler{Gate: &gate.Gate{View: view.Load, Now: time.Now}, Log: log, Budget: webhook.NewBudget(128 << 20)}
	if err := answers(h, hub.Snapshot("platform"), schemas); err != nil {
		return nil, err
	}
	out := served{Answered: time.Since(t.Began)}
	return &out, out.settle(filepath.Join(t.Dir, "index"))
}

// answers puts one review that must be allowed and one that must not.
func answers(h http.Handler, s *gitindex.Snapshot, schemas *canonical.Schemas) error {
	if s == nil {
		return errors.New("nothing is published")
	}
	e := s.Lookup(gitindex.Ref{Group: "apps", Kind: "Deployment", Namespace: team(1), Name: app(1)})
	if e == nil {
		return errors.New("the index lacks an object")
	}
	object, err := schemas.Canonical(e.Current[0].Raw, "v1")
	if err != nil {
		return err
	}
	for want, object := range map[bool][]byte{true: object, false: bytes.Replace(object, []byte(`"replicas":3`), []byte(`"replicas":4`), 1)} {
		body := fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","kind":{"group":"apps","version":"v1","kind":"Deployment"},`+
			`"resource":{"group":"apps","version":"v1","resource":"deployments"},"name":%q,"namespace":%q,"operation":"CREATE","userInfo":{"username":"ada"},"object":%s}}`,
			app(1), team(1), object)
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/validate", bytes.NewReader([]byte(body))))
		var review struct{ Response struct{ Allowed bool } }
		if err := json.Unmarshal(answer.Body.Bytes(), &review); err != nil || review.Response.Allowed != want {
			return fmt.Errorf("want allowed %v: %s", want, answer.Body)
		}
	}
	return nil
}

// settle waits until the index is on disk, memory has come to rest, and takes
// it down.
func (s *served) settle(file string) error {
	for range 20 {
		time.Sleep(500 * time.Millisecond)
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Heap = int64(m.HeapAlloc)
	var err, err2 error
	s.RSS, err = resident("VmRSS")
	s.Peak, err2 = resident("VmHWM")
	info, err3 := os.Stat(file)
	if err3 == nil {
		s.File = info.Size()
	}
	return errors.Join(err, err2, err3)
}

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// The programs of a control plane.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
)

// Binaries is a directory that holds the programs of a control plane.
type Binaries struct {
	Dir    string
	Source string // where they came from, for people: "the cache", "a build", …
}

// Path is the file of one program.
func (b Binaries) Path(program string) string { return filepath.Join(b.Dir, program) }

// errNotHere says that a source does not have what is wanted, so that the next
// one is asked. Any other error ends the search.
var errNotHere = errors.New("not here")

// Ensure returns a directory with etcd, kube-apiserver and
// kube-controller-manager. It looks, in this order, in $KUBEBUILDER_ASSETS and
// in the user's cache, and then builds them from Go modules: minutes once,
// nothing afterwards. Progress is told to w, which may be nil.
//
// $GITWARD_CONTROLPLANE changes the order: "auto" is the above; "build" never
// downloads; "download" never builds; "off" does neither.
// $GITWARD_CONTROLPLANE_VERIFY=1 compares the cache with its checksums.
//
// The archives that may be downloaded (the ones of controller-runtime's
// envtest) hold no kube-controller-manager. So they serve only a Start that
// asks for none; Ensure, which promises all three, never takes one.
func Ensure(ctx context.Context, w io.Writer) (Binaries, error) {
	return workshopFromEnv().ensure(ctx, w, allPrograms)
}

var (
	allPrograms = []string{Etcd, APIServer, ControllerManager}
	justServers = []string{Etcd, APIServer}
)

// workshop is where programs come from, and how.
type workshop struct {
	mode   string // auto, download, build, off
	assets string // $KUBEBUILDER_ASSETS
	cache  string // ~/.cache/gitward
	index  string // of the archives that can be downloaded
	verify bool   // compare checksums, not only sizes
	// make is how the programs are built into a directory; buildAll, unless a
	// test has no ten minutes.
	make func(ctx context.Context, w io.Writer, dir string) error
}

func workshopFromEnv() *workshop {
	cache, err := os.UserCacheDir()
	if err != nil { // neither HOME nor XDG_CACHE_HOME: still better than nothing
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("gitward-cache-%d", os.Getuid()))
	}
	mode := os.Getenv("GITWARD_CONTROLPLANE")
	if mode == "" {
		mode = "auto"
	}
	return &workshop{
		mode:   mode,
		assets: os.Getenv("KUBEBUILDER_ASSETS"),
		cache:  filepath.Join(cache, "gitward"),
		index:  envtestIndex,
		verify: os.Getenv("GITWARD_CONTROLPLANE_VERIFY") == "1",
		make:   buildAll,
	}
}

type source func(ctx context.Context, w io.Writer, need []string) (Binaries, error)

func (s *workshop) sources() ([]source, error) {
	switch s.mode {
	case "auto":
		return []source{s.fromAssets, s.fromCache, s.fromDownload, s.fromBuild}, nil
	case "download":
		return []source{s.fromAssets, s.fromCache, s.fromDownload}, nil
	case "build":
		return []source{s.fromAssets, s.fromCache, s.fromBuild}, nil
	case "off":
		return []source{s.fromAssets, s.fromCache}, nil
	}
	return nil, fmt.Errorf("GITWARD_CONTROLPLANE=%s is none of auto, download, build, off", s.mode)
}

func (s *workshop) ensure(ctx context.Context, w io.Writer, need []string) (Binaries, error) {
	if w == nil {
		w = io.Discard
	}
	sources, err := s.sources()
	if err != nil {
		return Binaries{}, err
	}
	var misses []string
	for _, find := range sources {
		found, err := find(ctx, w, need)
		if errors.Is(err, errNotHere) {
			misses = append(misses, err.Error())
			continue
		}
		if err != nil {
			return Binaries{}, fmt.Errorf("getting a control plane: %w", err)
		}
		fmt.Fprintf(w, "control plane  from %s\n", found.Source)
		return found, nil
	}
	return Binaries{}, fmt.Errorf("no control plane with GITWARD_CONTROLPLANE=%s: %s", s.mode, strings.Join(misses, "; "))
}

// fromAssets takes the directory that the user named. It is theirs: nothing
// in it is checked but that the files are there.
func (s *workshop) fromAssets(_ context.Context, w io.Writer, need []string) (Binaries, error) {
	if s.assets == "" {
		return Binaries{}, fmt.Errorf("KUBEBUILDER_ASSETS is not set: %w", errNotHere)
	}
	for _, program := range need {
		if _, err := os.Stat(filepath.Join(s.assets, program)); err != nil {
			fmt.Fprintf(w, "control plane  KUBEBUILDER_ASSETS=%s has no %s, looking further\n", s.assets, program)
			return Binaries{}, fmt.Errorf("KUBEBUILDER_ASSETS has no %s: %w", program, errNotHere)
		}
	}
	return Binaries{Dir: s.assets, Source: "KUBEBUILDER_ASSETS (" + s.assets + ")"}, nil
}

// fromCache takes what an earlier build or download left.
func (s *workshop) fromCache(_ context.Context, w io.Writer, need []string) (Binaries, error) {
	why := fmt.Errorf("nothing in %s: %w", s.builtDir(), errNotHere)
	downloads, err := filepath.Glob(s.downloadDir(minorOf(kubernetesModule.version()) + ".*"))
	if err != nil {
		return Binaries{}, err
	}
	for _, dir := range append([]string{s.builtDir()}, downloads...) {
		err := s.check(dir, need)
		if err == nil {
			return Binaries{Dir: dir, Source: "the cache (" + dir + ")"}, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintf(w, "control plane  leaving the cache aside: %v\n", err)
			why = fmt.Errorf("%w: %w", err, errNotHere)
		}
	}
	return Binaries{}, why
}

// fromBuild compiles all programs into the cache. Whoever comes second waits
// for the first and then finds the cache filled.
func (s *workshop) fromBuild(ctx context.Context, w io.Writer, need []string) (Binaries, error) {
	unlock, err := lock(ctx, w, filepath.Join(s.cache, "controlplane.lock"))
	if err != nil {
		return Binaries{}, err
	}
	defer unlock()
	if found, err := s.fromCache(ctx, io.Discard, need); err == nil {
		return found, nil
	}
	if err := s.fill(s.builtDir(), func(dir string) error { return s.make(ctx, w, dir) }); err != nil {
		return Binaries{}, err
	}
	return Binaries{Dir: s.builtDir(), Source: "a build, now cached (" + s.builtDir() + ")"}, nil
}

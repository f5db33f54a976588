//go:build unix

// Index measures what an Origin costs: the first index of a large repository
// beside git, one new commit, memory, and a restart. Run it from the
// repository's root:
//
//	go run ./test/bench/index
//
// It starts itself again for each part that must be counted alone: the Git
// server, whose CPU is on nobody's bill, the tracker, and a process that serves
// from the index.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gitward/gitward/test/bench"
	"github.com/gitward/gitward/test/gitserver"
)

// options are the sizes; the defaults are those of the goals.
type options struct {
	commits, files, objects, runs int
	output, profile               string
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		exitOn(play(role))
		return
	}
	o := options{}
	flag.IntVar(&o.commits, "commits", 10_000, "commits of the repository that is indexed")
	flag.IntVar(&o.files, "files", 5_000, "files of the repository that is indexed")
	flag.IntVar(&o.objects, "objects", bench.Objects, "objects of the index whose memory is measured")
	flag.IntVar(&o.runs, "runs", 3, "runs of the first index and of git")
	flag.StringVar(&o.output, "o", "table", "table or json")
	flag.StringVar(&o.profile, "profile", "", "directory for CPU and heap profiles of each part")
	flag.Parse()
	results, err := run(&o)
	exitOn(err)
	exitOn(print(results, o.output))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Result is one figure beside its goal.
type Result struct {
	What     string  `json:"what"`
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit"`
	Goal     float64 `json:"goal,omitempty"` // at most; 0 where there is none
	Runs     string  `json:"runs,omitempty"` // how the figure was got
}

func (r Result) row() string {
	goal, ratio := "", ""
	if r.Goal > 0 {
		goal, ratio = "≤ "+number(r.Goal)+" "+r.Unit, fmt.Sprintf("%.2f", r.Measured/r.Goal)
	}
	return strings.Join([]string{r.What, number(r.Measured) + " " + r.Unit, goal, ratio, r.Runs}, "\t")
}

func number(v float64) string {
	if v >= 100 || v == float64(int(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func print(results []Result, output string) error {
	if output == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"cpus": runtime.NumCPU(), "go": runtime.Version(), "results": results})
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMEASURED\tGOAL\tOF GOAL\tHOW")
	for _, r := range results {
		fmt.Fprintln(w, r.row())
	}
	return w.Flush()
}

// run takes all measurements in a temporary directory.
func run(o *options) ([]Result, error) {
	root, err := os.MkdirTemp("", "gitward-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return nil, err
		}
	}
	signer, err := gitserver.NewSSHSigner()
	if err != nil {
		return nil, err
	}
	history := filepath.Join(root, "git", "history.git")
	if err := generate(history, o.commits, o.files, signer); err != nil {
		return nil, err
	}
	wide := filepath.Join(root, "git", "wide.git")
	if err := generate(wide, max(o.commits/10, 1), o.objects, signer); err != nil {
		return nil, err
	}
	server, err := start("server", task{Dir: filepath.Dir(history)})
	if err != nil {
		return nil, err
	}
	defer server.stop()
	m := &measurement{options: o, root: root, signer: signer.PublicLine}
	if err := server.read(&m.url); err != nil {
		return nil, err
	}
	return m.all(history, signer)
}

// generate makes a signed repository and packs it as a server would have it.
func generate(dir string, commits, files int, signer gitserver.Signer) error {
	began := time.Now()
	repo, err := gitserver.NewRepo(dir)
	if err != nil {
		return err
	}
	if err := repo.Batch(func() error { return commitAll(repo, commits, files, signer) }); err != nil {
		return fmt.Errorf("generating the repository: %w", err)
	}
	if _, err := repo.Git("repack", "-a", "-d", "-q", "--depth=50", "--window=10"); err != nil {
		return err
	}
	size, err := packSize(dir)
	fmt.Fprintf(os.Stderr, "%s: %d signed commits, %d files, %d MB packed (%v)\n", filepath.Base(dir), commits, files, size>>20, time.Since(began).Round(time.Second))
	return err
}

func packSize(dir string) (int64, error) {
	packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	var size int64
	for _, p := range packs {
		if info, err := os.Stat(p); err == nil {
			size += info.Size()
		}
	}
	return size, err
}

// measurement is the parent's side of all parts.
type measurement struct {
	options *options
	root    string
	signer  string // the trusted key
	url     string // of the Git server
}

func (m *measurement) task(repo, dir string) task {
	return task{URL: m.url + "/" + repo, Signer: m.signer, Dir: filepath.Join(m.root, dir), Profile: m.options.profile}
}

func (m *measurement) all(history string, signer *gitserver.SSHSigner) ([]Result, error) {
	var out []Result
	for _, part := range []func() ([]Result, error){
		m.firstIndex,
		func() ([]Result, error) { return m.newCommits(history, signer) },
		m.memory,
	} {
		results, err := part()
		if err != nil {
			return nil, err
		}
		out = append(out, results...)
	}
	return out, nil
}

// firstIndex compares the tracker with git, each beginning with nothing.
func (m *measurement) firstIndex() ([]Result, error) {
	var ours, saves, walls, gits []time.Duration
	for i := range m.options.runs {
		spent, err := m.git(filepath.Join(m.root, fmt.Sprintf("clone-%d.git", i)))
		if err != nil {
			return nil, err
		}
		gits = append(gits, spent)
		var got indexed
		if err := call("index", m.task("history.git", fmt.Sprintf("state-%d", i)), &got); err != nil {
			return nil, err
		}
		if got.Objects != m.options.files {
			return nil, fmt.Errorf("the index has %d objects, want %d", got.Objects, m.options.files)
		}
		ours, saves, walls = append(ours, got.Sync), append(saves, got.Save), append(walls, got.Wall)
	}
	how := fmt.Sprintf("median of %d", m.options.runs)
	us, git := median(ours), median(gits)
	return []Result{
		{What: "first index, CPU of git clone --bare + git log --name-only", Measured: ratio(us, git), Unit: "x", Goal: 3, Runs: how},
		{What: "  Gitward: fetch, verify, walk, render, canonicalise", Measured: us.Seconds(), Unit: "s CPU", Runs: fmt.Sprintf("%s, least %.2f", how, least(ours).Seconds())},
		{What: "  git", Measured: git.Seconds(), Unit: "s CPU", Runs: fmt.Sprintf("%s, least %.2f", how, least(gits).Seconds())},
		{What: "  Gitward, by the clock (server on the same cores)", Measured: median(walls).Seconds(), Unit: "s", Runs: how},
		{What: "  writing the index to disk", Measured: median(saves).Seconds(), Unit: "s CPU", Runs: how},
	}, nil
}

// git is the CPU that git takes to have the same repository and its history.
func (m *measurement) git(clone string) (time.Duration, error) {
	var spent time.Duration
	for _, args := range [][]string{
		{"clone", "-q", "--bare", m.url + "/history.git", clone},
		{"--git-dir", clone, "log", "--name-only"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "LC_ALL=C")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return 0, fmt.Errorf("git %s: %w", args[0], err)
		}
		spent += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return spent, os.RemoveAll(clone)
}

// newCommits adds commits of one file each to the indexed repository.
func (m *measurement) newCommits(history string, signer *gitserver.SSHSigner) ([]Result, error) {
	t := m.task("history.git", "state-0")
	t.Repo, t.Key = history, signer.PrivatePEM
	var got followed
	if err := call("follow", t, &got); err != nil {
		return nil, err
	}
	how := fmt.Sprintf("median of %d, greatest %.0f", len(got.Visible), milliseconds(greatest(got.Visible)))
	return []Result{
		{What: "new commit, from the last byte of the fetch to the published snapshot", Measured: milliseconds(median(got.Visible)), Unit: "ms", Goal: 100, Runs: how},
		{What: "  asked to published, fetch included", Measured: milliseconds(median(got.Total)), Unit: "ms", Runs: fmt.Sprintf("median of %d", len(got.Total))},
		{What: "  writing the index to disk afterwards", Measured: milliseconds(median(got.Save)), Unit: "ms", Runs: fmt.Sprintf("median of %d", len(got.Save))},
	}, nil
}

// memory loads the wide repository into a serving process, and once more from
// its disk.
func (m *measurement) memory() ([]Result, error) {
	t := m.task("wide.git", "wide")
	t.Objects = m.options.objects
	var fresh, again served
	if err := call("serve", t, &fresh); err != nil {
		return nil, err
	}
	var starts []time.Duration
	for range max(m.options.runs, 1) {
		t.Restart = true
		if err := call("serve", t, &again); err != nil {
			return nil, err
		}
		starts = append(starts, again.Answered)
	}
	const mb = 1 << 20
	return []Result{
		{What: fmt.Sprintf("resident memory after a restart, %d objects", m.options.objects), Measured: float64(again.RSS) / mb, Unit: "MiB", Goal: 300, Runs: "settled"},
		{What: "  heap in use", Measured: float64(again.Heap) / mb, Unit: "MiB"},
		{What: "  highest while loading", Measured: float64(again.Peak) / mb, Unit: "MiB"},
		{What: "resident memory after the first index", Measured: float64(fresh.RSS) / mb, Unit: "MiB", Goal: 300, Runs: "settled"},
		{What: "  heap in use", Measured: float64(fresh.Heap) / mb, Unit: "MiB"},
		{What: "  highest while indexing", Measured: float64(fresh.Peak) / mb, Unit: "MiB"},
		{What: "restart to the first right answer", Measured: median(starts).Seconds(), Unit: "s", Goal: 5, Runs: fmt.Sprintf("median of %d, from exec", len(starts))},
		{What: "  index file", Measured: float64(again.File) / mb, Unit: "MiB"},
	}, nil
}

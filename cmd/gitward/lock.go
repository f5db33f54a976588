package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/controller"
	"github.com/gitward/gitward/gitindex/elsewhere"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/render"
)

type lockOptions struct {
	hosts          []string
	credentials    string
	cacheDir       string
	output         string
	check, upgrade bool
}

func lockCommand() *cobra.Command {
	o := lockOptions{}
	c := &cobra.Command{
		Use:   "lock [DIR]",
		Short: "Fix what charts and bases from elsewhere are, in " + elsewhere.LockPath,
		Long: `Fix what charts and bases from elsewhere are.

A checkout names charts of Helm repositories and registries, and kustomize bases
of other repositories, by versions and branches, which may be something else
tomorrow. For each that has no digest of its own, lock asks what it is now, and
writes that to ` + elsewhere.LockPath + `. Commit and sign that file: Gitward
renders what it says, and nothing else.

What the file has already stays as it is, unless --upgrade is given; what nothing
names any longer goes. Without --host, any public host may be asked, over https.
The hosts that were are listed: the Origin has to allow them.

Exit codes: 0 the file fits, 1 with --check: it does not, 2 could not tell, or
not everything could be resolved.`,
		Example: `  gitward lock
  gitward lock --check clusters/prod
  gitward lock --upgrade --host charts.example.org --host '*.ghcr.io'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lock(cmd, &o, append(args, ".")[0])
		},
	}
	f := c.Flags()
	f.BoolVar(&o.check, "check", false, "write and fetch nothing: exit with 1 if the file does not fit")
	f.BoolVar(&o.upgrade, "upgrade", false, "resolve again what the file has already")
	f.StringArrayVar(&o.hosts, "host", nil, "HOST[:PORT][,private][,http]: ask only such hosts; *.DOMAIN for each below it")
	f.StringVar(&o.credentials, "credentials", "", "YAML file: by host, the keys of a Flux Secret (username, password, ca.crt, identity, known_hosts)")
	f.StringVar(&o.cacheDir, "cache-dir", "", "where what is fetched is kept; default: in the user's cache")
	f.StringVarP(&o.output, "output", "o", "table", outputs)
	return c
}

// lockResult is what -o json prints.
type lockResult struct {
	document
	File string `json:"file"`
	// Fits says that the file has all that is needed, and nothing else.
	Fits  bool       `json:"fits"`
	Items []lockItem `json:"items"`
	// Hosts were asked: an Origin has to allow them.
	Hosts []string `json:"hosts,omitempty"`
}

// lockChange is what becomes of an entry.
type lockChange string

const (
	lockKept    lockChange = "kept"
	lockAdded   lockChange = "added"
	lockChanged lockChange = "changed"
	lockRemoved lockChange = "removed"
	lockMissing lockChange = "missing" // with --check
	lockFailed  lockChange = "failed"
)

func (c lockChange) mark() mark {
	switch c {
	case lockKept, lockAdded:
		return markGood
	case lockChanged, lockRemoved:
		return markNotice
	case lockMissing:
		return markBad
	}
	return markUnsure
}

type lockItem struct {
	Change    lockChange `json:"change"`
	Reference string     `json:"reference"`
	File      string     `json:"file,omitempty"` // the first that names it
	Line      int        `json:"line,omitempty"`
	Digest    string     `json:"digest,omitempty"`
	Resolved  string     `json:"resolved,omitempty"`
	Was       string     `json:"was,omitempty"` // the digest that a change replaces
	Message   string     `json:"message,omitempty"`
}

// mostRounds bounds how often a checkout is rendered to see what more it needs:
// a chart names others, which name others.
const mostRounds = 6

// needsMore renders the checkout with what is pinned so far, and adds what that
// asks for. It reports whether there was anything new.
func (l *locking) needsMore(store *elsewhere.Store) (bool, error) {
	asked, err := controller.Asks(controller.Settings{Name: "checkout", Renderer: renderers()}, l.dir, store)
	if err != nil {
		return false, err
	}
	before := len(l.needs)
	for _, n := range asked {
		if !slices.ContainsFunc(l.needs, func(o elsewhere.Need) bool { return o.Chart == n.Chart && o.Base == n.Base }) && n.Chart.Digest == "" {
			l.needs = append(l.needs, n)
		}
	}
	return len(l.needs) > before, nil
}

func lock(cmd *cobra.Command, o *lockOptions, dir string) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	con := newConsole(cmd)
	file := filepath.Join(dir, filepath.FromSlash(elsewhere.LockPath))
	old, err := readLock(file)
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("reading the checkout: %s is no directory", dir)
	}
	needs, problems := elsewhere.Needs(os.DirFS(dir))
	for _, p := range problems {
		con.note("%s", p)
	}
	l := &locking{lockOptions: o, con: con, dir: dir, needs: needs, result: lockResult{document: documentOf("LockResult"), File: file, Items: []lockItem{}}}
	if o.check {
		if err := l.compare(old); err != nil {
			return err
		}
	} else if err := l.renew(cmd.Context(), old); err != nil {
		return err
	}
	return l.finish()
}

// readLock is the file as it is; a lock without entries if there is none.
func readLock(file string) (*elsewhere.Lock, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &elsewhere.Lock{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the lock file: %w", err)
	}
	return elsewhere.ParseLock(text)
}

// locking is one run.
type locking struct {
	*lockOptions
	con    *console
	dir    string
	needs  []elsewhere.Need
	result lockResult
}

func (l *locking) say(change lockChange, n elsewhere.Need, pin render.Pin) *lockItem {
	l.result.Items = append(l.result.Items, lockItem{Change: change, Reference: n.What(), File: n.Path, Line: n.Line, Digest: pin.Digest, Resolved: pin.Version})
	return &l.result.Items[len(l.result.Items)-1]
}

// removed tells of entries that nothing names.
func (l *locking) removed(gone *elsewhere.Lock) {
	for _, c := range gone.Charts {
		l.say(lockRemoved, elsewhere.Need{Chart: c.Ref()}, c.Pin())
	}
	for _, b := range gone.Bases {
		l.say(lockRemoved, elsewhere.Need{Base: b.URL}, b.Pin())
	}
}

// compare holds the file against what is needed. What is pinned is fetched, if
// it is not in the cache, to see what it needs itself.
func (l *locking) compare(old *elsewhere.Lock) error {
	store, done, err := l.store()
	if err != nil {
		return err
	}
	defer done()
	store.Lock = old
	if _, err := l.needsMore(store); err != nil {
		return err
	}
	for _, n := range old.Missing(l.needs) {
		l.say(lockMissing, n, render.Pin{})
	}
	_, gone := old.Only(l.needs)
	l.removed(gone)
	l.result.Fits = len(l.result.Items) == 0
	return nil
}

// renew resolves what has to be, and writes the file.
func (l *locking) renew(ctx context.Context, old *elsewhere.Lock) error {
	store, done, err := l.store()
	if err != nil {
		return err
	}
	defer done()
	fresh := &elsewhere.Lock{}
	tried := map[string]bool{}
	for round := 0; ; round++ {
		l.resolve(ctx, store, old, fresh, tried)
		store.Lock = fresh
		if more, err := l.needsMore(store); err != nil {
			return err
		} else if !more || round == mostRounds {
			break
		}
	}
	_, gone := old.Only(l.needs)
	l.removed(gone)
	l.result.Hosts = store.HostsUsed()
	l.result.Fits = len(fresh.Missing(l.needs)) == 0
	return l.write(fresh)
}

// resolve pins what is needed and not tried yet: as it was, or anew.
func (l *locking) resolve(ctx context.Context, store *elsewhere.Store, old, fresh *elsewhere.Lock, tried map[string]bool) {
	for _, n := range fresh.Missing(l.needs) {
		was, had := pinned(old, n)
		if had && !l.upgrade {
			fresh.Add(n, was)
			continue
		}
		if tried[n.What()] {
			continue
		}
		tried[n.What()] = true
		l.con.note("resolving %s", n.What())
		pin, err := store.Resolve(ctx, n)
		switch {
		case err != nil:
			l.say(lockFailed, n, was).Message = gitindex.Clean(err.Error(), 600)
			if had {
				fresh.Add(n, was) // better than nothing
			}
			continue
		case had && was.Digest != pin.Digest:
			l.say(lockChanged, n, pin).Was = was.Digest
		case had:
			l.say(lockKept, n, pin)
		default:
			l.say(lockAdded, n, pin)
		}
		fresh.Add(n, pin)
	}
}

func pinned(l *elsewhere.Lock, n elsewhere.Need) (render.Pin, bool) {
	if n.Base != "" {
		return l.Base(n.Base)
	}
	return l.Chart(n.Chart)
}

// write leaves a file alone that is as it should be, and makes none for nothing.
func (l *locking) write(lock *elsewhere.Lock) error {
	text := lock.String()
	old, err := os.ReadFile(l.result.File)
	if err == nil && string(old) == text || err != nil && len(lock.Charts)+len(lock.Bases) == 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(l.result.File), 0o755); err != nil {
		return fmt.Errorf("writing the lock file: %w", err)
	}
	temporary := l.result.File + ".new"
	if err := os.WriteFile(temporary, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing the lock file: %w", err)
	}
	if err := os.Rename(temporary, l.result.File); err != nil {
		return fmt.Errorf("writing the lock file: %w", err)
	}
	return nil
}

// store fetches from the hosts that the flags allow.
func (l *locking) store() (*elsewhere.Store, func(), error) {
	dir := l.cacheDir
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, nil, fmt.Errorf("finding a directory for what is fetched: %w\n  do    give --cache-dir", err)
		}
		dir = filepath.Join(base, "gitward", "elsewhere")
	}
	secrets, err := readHostSecrets(l.credentials)
	if err != nil {
		return nil, nil, err
	}
	hosts, err := hostsOf(l.hosts, secrets)
	if err != nil {
		return nil, nil, err
	}
	git := &repositories{dir: filepath.Join(dir, "repositories"), credentials: secrets}
	done := func() {
		if err := git.Close(); err != nil {
			l.con.note("%v", err)
		}
	}
	return &elsewhere.Store{Fetcher: fetcher(hosts), Cache: &elsewhere.Cache{Dir: filepath.Join(dir, "content")}, Git: git}, done, nil
}

// readHostSecrets reads what --credentials names.
func readHostSecrets(file string) (map[string]gitrepo.Credentials, error) {
	all := map[string]gitrepo.Credentials{}
	if file == "" {
		return all, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	var read map[string]map[string]string
	if yaml.UnmarshalStrict(text, &read) != nil {
		return nil, fmt.Errorf("reading credentials: %s is no YAML of keys by host (its text is not repeated here)", file)
	}
	for host, keys := range read {
		data := map[string][]byte{}
		for k, v := range keys {
			data[k] = []byte(v)
		}
		c, err := gitrepo.ParseCredentials(data)
		if err != nil {
			return nil, fmt.Errorf("reading credentials: the host %s: %w", gitindex.Clean(host, 100), err)
		}
		all[strings.ToLower(host)] = c
	}
	return all, nil
}

// hostsOf are those of the flags, else any; with their credentials.
func hostsOf(flags []string, secrets map[string]gitrepo.Credentials) (elsewhere.Hosts, error) {
	var hosts elsewhere.Hosts
	for _, flag := range flags {
		words := strings.Split(flag, ",")
		h := elsewhere.Host{Name: words[0]}
		for _, word := range words[1:] {
			switch word {
			case "private":
				h.Private = true
			case "http":
				h.InsecureHTTP = true
			default:
				return nil, fmt.Errorf("--host %q: %q is none of private, http", flag, word)
			}
		}
		hosts = append(hosts, h)
	}
	if len(flags) == 0 {
		hosts = elsewhere.Hosts{{Name: elsewhere.Any}}
	}
	for name, c := range secrets {
		at := slices.IndexFunc(hosts, func(h elsewhere.Host) bool { return strings.EqualFold(h.Name, name) })
		if at < 0 {
			if len(flags) > 0 {
				continue
			}
			at = len(hosts)
			hosts = append(hosts, elsewhere.Host{Name: name})
		}
		hosts[at].CA = c.CA
		hosts[at].Credentials = elsewhere.Credentials{Username: c.Username, Password: c.Password}
	}
	return hosts, hosts.Check()
}

func (l *locking) finish() error {
	r := &l.result
	slices.SortStableFunc(r.Items, func(a, b lockItem) int { return strings.Compare(a.Reference, b.Reference) })
	if l.output != "table" {
		if err := l.con.structured(l.output, r); err != nil {
			return err
		}
	} else {
		l.print()
	}
	failed := 0
	for _, i := range r.Items {
		if i.Change == lockFailed {
			failed++
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%s could not be resolved", count(failed, "reference"))
	case !r.Fits:
		return errFound
	}
	return nil
}

func (l *locking) print() {
	r := &l.result
	var rows [][]cell
	for i := range r.Items {
		item := &r.Items[i]
		rows = append(rows, []cell{l.con.marked(item.Change.mark(), string(item.Change)), plain(item.Reference), plain(gitindex.Clean(item.Resolved, 60)), plain(short(item.Digest))})
	}
	if len(rows) > 0 {
		l.con.table("CHANGE REFERENCE RESOLVED DIGEST", rows)
	}
	for _, item := range r.Items {
		if item.Message != "" {
			fmt.Fprintf(l.con.out, "\n%s:%d: %s\n", gitindex.Clean(item.File, 200), item.Line, item.Message)
		}
	}
	switch {
	case l.check && !r.Fits:
		fmt.Fprintf(l.con.out, "  do    run \"gitward lock\" and commit %s\n", elsewhere.LockPath)
	case len(rows) == 0:
		l.con.note("%s fits: %s from elsewhere", elsewhere.LockPath, count(len(l.needs), "reference"))
	}
	if len(r.Hosts) > 0 {
		l.con.note("an Origin has to allow these hosts: %s", strings.Join(r.Hosts, ", "))
	}
}

// short is a digest for people.
func short(digest string) string {
	if len(digest) > 19 {
		return digest[:19]
	}
	return digest
}

package gitrepo

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
)

// Remote says what to fetch, from where and how.
type Remote struct {
	// URL is https://, http://, ssh:// or git@host:path; file:// or a path only
	// with AllowLocal. It never holds a password.
	URL         string
	Ref         Ref
	Credentials Credentials
	// AllowLocal lets URL name a repository on this machine, for the demo and
	// the command line. Never for an Origin in a cluster.
	AllowLocal bool
	// Timeout bounds one Fetch. Zero means DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout bounds a Fetch whose Remote says nothing else.
const DefaultTimeout = 5 * time.Minute

// Ref selects what to track. At most one field is set; none means what the
// remote's HEAD points to.
type Ref struct {
	Branch string // "main"
	Tag    string // "v1.2.0"
	SemVer string // the highest version tag in a range, such as ">=1.2.0 <2.0.0"
	Name   string // "refs/heads/main", any ref in full
	Commit string // 40 hex digits
}

// String is the ref as people write it: "main", "v1.2.0", "HEAD".
func (r Ref) String() string {
	for _, s := range []string{r.Branch, r.Tag, r.SemVer, r.Name, r.Commit} {
		if s != "" {
			return gitindex.Clean(s, 200)
		}
	}
	return "HEAD"
}

// String is the remote for messages: URL and ref, never a credential.
func (r Remote) String() string {
	where := r.URL
	if u, err := url.Parse(where); err == nil && u.User != nil {
		u.User = url.User(u.User.Username())
		where = u.String()
	}
	return gitindex.Clean(where, 300) + " " + r.Ref.String()
}

// Format keeps the credentials out of every verb.
func (r Remote) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

func (r Remote) timeout() time.Duration {
	if r.Timeout > 0 {
		return r.Timeout
	}
	return DefaultTimeout
}

// target is a remote whose URL and credentials have been found acceptable.
type target interface {
	dial(context.Context, *Repo) (source, error)
}

// source is one conversation with a remote.
type source interface {
	// resolve tells which object the ref names now.
	resolve(ctx context.Context, ref Ref) (object.ID, error)
	// pack writes all that leads to want and is not behind haves as one
	// self-contained pack, and tells where the remote's own history is cut off.
	pack(ctx context.Context, ask request, to io.Writer) (shallow []object.ID, err error)
	close() error
}

type request struct {
	want  object.ID
	haves []object.ID
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// target judges the remote, before anything is sent anywhere.
func (r Remote) target() (target, error) {
	if err := r.Ref.check(); err != nil {
		return nil, err
	}
	if host, path, ok := scpLike(r.URL); ok {
		return newSSH(r, &url.URL{Scheme: "ssh", User: userOf(host), Host: host[strings.Index(host, "@")+1:], Path: path})
	}
	if !strings.Contains(r.URL, "://") {
		return r.local(r.URL)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, refused("the URL does not parse") // url.Parse would repeat a password
	}
	if _, has := u.User.Password(); has {
		return nil, refused("a password in the URL: put it into the credentials")
	}
	switch u.Scheme {
	case "https", "http":
		return newHTTP(r, u)
	case "ssh":
		return newSSH(r, u)
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, refused("a file URL with a host")
		}
		return r.local(u.Path)
	}
	return nil, refused("URL scheme %q: want https, ssh or, without credentials, http", gitindex.Clean(u.Scheme, 20))
}

func (r Remote) local(path string) (target, error) {
	if !r.AllowLocal {
		return nil, refused("a repository on this machine (%s) is not allowed here", gitindex.Clean(path, 200))
	}
	if path == "" {
		return nil, refused("no URL")
	}
	abs, err := filepath.Abs(path)
	return local{abs}, err
}

func (r Ref) check() error {
	n := 0
	for _, s := range []string{r.Branch, r.Tag, r.SemVer, r.Name, r.Commit} {
		if s == "" {
			continue
		}
		n++
		if gitindex.Clean(s, 1024) != s {
			return refused("a ref with control characters or of more than 1024 characters")
		}
	}
	if n > 1 {
		return refused("more than one of branch, tag, semver, name and commit")
	}
	if r.Name != "" && !strings.HasPrefix(r.Name, "refs/") {
		return refused("ref name %q does not begin with refs/", r.Name)
	}
	if _, err := object.ParseID(r.Commit); r.Commit != "" && err != nil {
		return refused("commit %q is not 40 lower-case hex digits", r.Commit)
	}
	_, err := r.versions()
	return err
}

// scpLike splits "git@host:path", the short form of an ssh URL.
func scpLike(text string) (host, path string, ok bool) {
	host, path, ok = strings.Cut(text, ":")
	if !ok || strings.HasPrefix(path, "//") || strings.ContainsAny(host, "/\\") || len(host) < 2 {
		return "", "", false
	}
	return host, path, true
}

func userOf(host string) *url.Userinfo {
	if user, _, ok := strings.Cut(host, "@"); ok {
		return url.User(user)
	}
	return nil
}

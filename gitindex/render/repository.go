package render

import (
	"net/url"
	"path"
	"strings"
)

// Repository is what an Origin tracks: a branch, or another ref as Follows
// writes it.
type Repository struct {
	URL, Branch string
}

// Follows is what a source or an Origin follows, in one word: the first of the
// refs that is set. Only a branch is written as it is; a full name of one counts
// as it.
func Follows(commit, name, semver, tag, branch string) string {
	switch {
	case commit != "":
		return "commit:" + commit
	case strings.HasPrefix(name, "refs/heads/"):
		return strings.TrimPrefix(name, "refs/heads/")
	case name != "":
		return "ref:" + name
	case semver != "":
		return "semver:" + semver
	case tag != "":
		return "tag:" + tag
	}
	return branch
}

// Holds reports whether a source that names a repository and a branch means
// this one.
func (r Repository) Holds(url, branch string) bool {
	return SameRepository(r.URL, url) && sameBranch(branch, r.Branch)
}

// sameBranch reports whether a source follows what an Origin tracks. The
// remote's default branch has no name that both would know, so it is taken for
// the other branch where only one of them names one.
func sameBranch(wanted, tracked string) bool {
	byDefault := func(ref string) bool { return ref == "" || ref == "HEAD" }
	isBranch := func(ref string) bool { return !strings.Contains(ref, ":") } // which no branch's name may hold
	return wanted == tracked || byDefault(wanted) && isBranch(tracked) || byDefault(tracked) && isBranch(wanted)
}

// SameRepository reports whether two URLs name one repository, however it is
// reached: the scheme, the user, a default port and ".git" make no difference.
func SameRepository(a, b string) bool {
	x, y := repository(a), repository(b)
	return x != "" && x == y
}

// repository is a URL's host and path: "git.example.com/acme/platform".
func repository(raw string) string {
	raw = strings.TrimSpace(raw)
	if !strings.Contains(raw, "://") {
		if host, path, ok := strings.Cut(raw, ":"); ok && !strings.Contains(host, "/") {
			raw = "ssh://" + host + "/" + strings.TrimPrefix(path, "/") // git's short form of ssh
		} else {
			return strings.TrimSuffix(cleanPath(raw), ".git")
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	switch port := u.Port(); {
	case port == "", port == "443" && u.Scheme == "https", port == "80" && u.Scheme == "http", port == "22" && u.Scheme == "ssh":
	default:
		host += ":" + port
	}
	path := strings.TrimSuffix(cleanPath(u.Path), ".git")
	if host == "" {
		return path
	}
	return host + "/" + path
}

func cleanPath(p string) string { return strings.Trim(path.Clean("/"+p), "/") }

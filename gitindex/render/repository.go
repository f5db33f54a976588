package render

import (
	"net/url"
	"path"
	"strings"
)

// Repository is what an Origin tracks.
type Repository struct {
	URL, Branch string
}

// Holds reports whether a source that names a repository and a branch means
// this one.
func (r Repository) Holds(url, branch string) bool {
	return SameRepository(r.URL, url) && sameBranch(branch, r.Branch)
}

// sameBranch reports whether a source follows the branch that an Origin tracks.
// The remote's default branch has no name that both would know, so it is taken
// for the other where only one of them names one.
func sameBranch(wanted, tracked string) bool {
	return wanted == "" || wanted == "HEAD" || tracked == "" || wanted == tracked
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

package kustomize

import (
	"net/url"
	"path"
	"regexp"
	"strings"
)

// reach is where kustomize would go for a reference.
type reach uint8

const (
	local      reach = iota // a path
	address                 // one file, over HTTP
	repository              // a clone, by running git
)

// fileReach is for references that kustomize takes for files alone: patches,
// crds, configurations, and what generators read. kustomize asks url.Parse
// (internal/loader/fileloader.go, IsRemoteFile), and so does this.
func fileReach(ref string) reach {
	u, err := url.Parse(ref)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return address
	}
	return local
}

// baseReach is for references that may be directories. An address may be
// either; only what is there tells.
func baseReach(ref string) reach {
	if _, _, ok := splitRepository(ref); ok {
		return repository
	}
	return fileReach(ref)
}

// plainly reports that no reading of a base's reference leaves the tree: each
// that does needs a colon, an "@" or the name of GitHub at its start.
func plainly(ref string) bool {
	return !strings.ContainsAny(ref, ":@") && !hasPrefixFold(ref, "github.com/")
}

var (
	schemes  = []string{"ssh://", "https://", "http://", "file://"}
	username = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)
)

// splitRepository says whether kustomize would take the reference for a Git
// repository, and which part names the directory in it. The rules are those of
// kustomize 5.8 (api/internal/git/repospec.go); a fuzz test compares.
func splitRepository(ref string) (repo, dir string, ok bool) {
	if path.IsAbs(ref) {
		return "", "", false
	}
	rest, _, _ := strings.Cut(ref, "?")
	if hasPrefixFold(rest, "git::") {
		rest = rest[len("git::"):]
	}
	scheme := ""
	for _, s := range schemes {
		if hasPrefixFold(rest, s) {
			scheme, rest = s, rest[len(s):]
			break
		}
	}
	user := username.FindString(rest)
	rest = rest[len(user):]
	github := hasPrefixFold(rest, "github.com/") || hasPrefixFold(rest, "github.com:")
	scp := scheme == "" && (user != "" || github)
	switch {
	case scheme == "" && !scp:
		return "", "", false
	case scheme == "file://":
		return splitPath(user+rest, -1)
	}
	host := hostEnd(rest, scp)
	if host == 0 && !github {
		return "", "", false
	}
	return splitPath(rest[host:], 2)
}

// hostEnd is the length of the host with its separator.
func hostEnd(s string, scp bool) int {
	slash := strings.Index(s, "/")
	if scp {
		colon := strings.Index(s, ":")
		if slash == -1 || colon > 0 && colon < slash {
			slash = colon
		}
	}
	if slash < 0 {
		return len(s)
	}
	return slash + 1
}

// splitPath divides the path behind the host: at a marker, or after so many
// segments; -1 takes all of it for the repository.
func splitPath(s string, segments int) (repo, dir string, ok bool) {
	if i := strings.Index(s, "_git/"); i >= 0 {
		i += len("_git/")
		name, below, _ := strings.Cut(s[i:], "/")
		repo, dir = s[:i]+name, below
	} else if i := strings.Index(s, "//"); i >= 0 {
		repo, dir = s[:i], s[i+2:]
	} else if i := strings.Index(s, ".git"); i >= 0 {
		repo, dir = s[:i+len(".git")], s[i+len(".git"):]
	} else if segments < 0 {
		repo = s
	} else {
		parts := strings.Split(s, "/")
		if len(parts) < segments {
			return "", "", false
		}
		repo, dir = strings.Join(parts[:segments], "/"), strings.Join(parts[segments:], "/")
	}
	first, _, _ := strings.Cut(path.Clean(strings.TrimPrefix(dir, "/")), "/")
	if repo == "" || first == ".." {
		return "", "", false
	}
	return repo, strings.TrimPrefix(dir, "/"), true
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.ToLower(s[:len(prefix)]) == prefix
}

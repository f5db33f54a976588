package elsewhere

import (
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// base is a kustomize base from elsewhere: a directory of a Git repository, an
// OCI artifact, or one file.
type base struct {
	text string // as it is written
	// clone, dir and ref are those of a repository: what Git fetches, the
	// directory in it, and the branch, tag or commit ("" for the default one).
	clone, dir, ref string
	host            *url.URL // for the list of hosts
	file            bool
	oci             string // oci://host/name
	version, digest string // of an OCI artifact
}

// IsRemote reports whether an entry of a kustomization means something outside
// the tree, so that Base is to be asked for it.
func IsRemote(entry string) bool {
	lower := strings.ToLower(strings.TrimPrefix(entry, "git::"))
	for _, prefix := range []string{"https://", "http://", "ssh://", "oci://", "github.com/", "github.com:"} {
		if strings.HasPrefix(lower, prefix) {
			return true
		}
	}
	return scp.MatchString(lower)
}

var scp = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9-]*)@([a-zA-Z0-9.-]+)[:/](.+)$`)

// parseBase reads the forms that kustomize takes (kustomize, api/internal/git,
// NewRepoSpecFromURL). kustomize first asks for the URL as a file and clones it
// if that is none; here the form alone decides, since the answer could change.
func parseBase(text string) (*base, error) {
	if len(text) > 2048 || gitindex.Clean(text, 4096) != text {
		return nil, refused("a URL with control characters or of more than 2048 bytes")
	}
	if strings.HasPrefix(text, "oci://") {
		return parseArtifact(text)
	}
	rest, query, _ := strings.Cut(strings.TrimPrefix(text, "git::"), "?")
	b := &base{text: text}
	if strings.HasPrefix(strings.ToLower(rest), "github.com/") {
		rest = "https://" + rest
	}
	if b.host = parseHost(rest); b.host == nil {
		return nil, refused("%q is no URL that kustomize takes", gitindex.CleanURL(text, 400))
	}
	if isFile(b.host, text) {
		b.file, b.dir = true, path.Base(b.host.Path)
		return b, checkName(b.dir)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, refused("the query of %q does not parse", gitindex.CleanURL(text, 400))
	}
	if b.ref = values.Get("ref"); b.ref == "" {
		b.ref = values.Get("version")
	}
	return b, b.split()
}

// parseHost reads a URL, or the short form user@host:path of an ssh URL.
func parseHost(text string) *url.URL {
	lower := strings.ToLower(text)
	if m := scp.FindStringSubmatch(text); m != nil && !strings.Contains(text, "://") {
		return &url.URL{Scheme: "ssh", User: url.User(m[1]), Host: m[2], Path: "/" + m[3]}
	}
	if path, ok := strings.CutPrefix(lower, "github.com:"); ok {
		return &url.URL{Scheme: "ssh", User: url.User("git"), Host: "github.com", Path: "/" + text[len(text)-len(path):]}
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return nil
	}
	if _, password := u.User.Password(); password || defaultPorts[u.Scheme] == "" {
		return nil
	}
	if u.Scheme != "ssh" {
		u.User = nil // Azure DevOps shows URLs with one; credentials go by host
	}
	return u
}

// isFile tells one YAML file from a repository. A repository has a ref, a
// double slash or .git; a file ends as one.
func isFile(u *url.URL, text string) bool {
	if u.Scheme == "ssh" || strings.Contains(text, "?") && !strings.HasPrefix(u.Host, "raw.") {
		return false
	}
	if strings.Contains(u.Path, "//") || strings.Contains(u.Path, ".git/") || strings.HasSuffix(u.Path, ".git") {
		return false
	}
	switch path.Ext(u.Path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// split finds where the repository ends and the directory begins.
func (b *base) split() error {
	whole := strings.TrimPrefix(b.host.Path, "/")
	repo, dir := "", ""
	if at := strings.Index(whole, "_git/"); at >= 0 { // Azure DevOps
		name, below, _ := strings.Cut(whole[at+len("_git/"):], "/")
		repo, dir = whole[:at]+"_git/"+name, below
	} else if at := strings.Index(whole, "//"); at >= 0 {
		repo, dir = whole[:at], whole[at+2:]
	} else if at := strings.Index(whole, ".git"); at >= 0 {
		repo, dir = whole[:at+len(".git")], whole[at+len(".git"):]
	} else if parts := strings.SplitN(whole, "/", 3); len(parts) >= 2 {
		repo = parts[0] + "/" + parts[1]
		if len(parts) == 3 {
			dir = parts[2]
		}
	}
	b.dir = path.Clean(strings.Trim(dir, "/"))
	if strings.Trim(repo, "/") == "" || b.dir == ".." || strings.HasPrefix(b.dir, "../") {
		return refused("%q names no repository and directory", gitindex.CleanURL(b.text, 400))
	}
	if b.dir != "." {
		if err := checkName(b.dir); err != nil {
			return err
		}
	}
	clone := url.URL{Scheme: b.host.Scheme, User: b.host.User, Host: b.host.Host, Path: "/" + repo}
	b.clone = clone.String()
	return nil
}

// parseArtifact reads oci://host/name:tag@sha256:…, a Flux OCIRepository's.
func parseArtifact(text string) (*base, error) {
	b := &base{text: text, dir: "."}
	rest, digest, pinned := strings.Cut(text, "@")
	if pinned && !sha256Digest.MatchString(digest) {
		return nil, refused("%q: the digest is not sha256:… of 64 hex digits", gitindex.CleanURL(text, 400))
	}
	b.digest, b.oci = digest, rest
	if at := strings.LastIndex(rest, ":"); at > strings.LastIndex(rest, "/") {
		b.oci, b.version = rest[:at], rest[at+1:]
	}
	host, _, err := parseOCI(b.oci)
	if err != nil {
		return nil, err
	}
	if b.version == "" && b.digest == "" {
		b.version = "latest" // as Flux has it
	}
	b.host = &url.URL{Scheme: "https", Host: host}
	return b, nil
}

package elsewhere

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// fetched is what was got from elsewhere. Nothing of it has been judged.
type fetched struct {
	Digest     string        `json:"digest,omitempty"`
	Version    string        `json:"version,omitempty"`
	Manifest   []byte        `json:"manifest,omitempty"` // of OCI content
	Signatures []cosignature `json:"signatures,omitempty"`
	Hosts      []string      `json:"hosts,omitempty"` // that were spoken to
	blob       []byte        // the archive or file
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// helmChart gets a chart of a Helm repository (helm.sh/docs/topics/chart_repository).
// With a digest, version is the one that was resolved then.
func (c *client) helmChart(ctx context.Context, r *request) (*fetched, error) {
	repository, err := parseURL(r.Repository)
	if err != nil {
		return nil, err
	}
	repository.Path = strings.TrimSuffix(repository.Path, "/")
	at := repository.JoinPath("index.yaml")
	index, err := c.get(ctx, question{url: at}, c.limits.Index, "the index of "+at.Host)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	list, err := releases(index, r.Name)
	if err != nil {
		return nil, err
	}
	one, err := pick(list, r)
	if err != nil {
		return nil, err
	}
	where, err := chartURL(repository, one)
	if err != nil {
		return nil, err
	}
	blob, err := c.get(ctx, question{url: where}, c.limits.Archive, "the archive at "+where.Host)
	if err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	f := &fetched{Digest: digestOf(blob), Version: one.Version, blob: blob}
	if said := one.digest(); said != "" && said != f.Digest {
		return nil, refused("the index gives %s for version %s, but its archive is %s", gitindex.Clean(said, 80), gitindex.Clean(one.Version, 60), f.Digest)
	}
	return f, nil
}

// digest is the one that the index gives, empty if it gives none. Some write
// the algorithm before it.
func (r *release) digest() string {
	if r.Digest == "" {
		return ""
	}
	return "sha256:" + strings.ToLower(strings.TrimPrefix(r.Digest, "sha256:"))
}

func pick(list []release, r *request) (*release, error) {
	if len(list) == 0 {
		return nil, refused("the index has no chart %q", gitindex.Clean(r.Name, 100))
	}
	var versions []string
	for _, one := range list {
		versions = append(versions, one.Version)
	}
	version, err := choose(versions, r.Version)
	if err != nil {
		return nil, err
	}
	for i := range list {
		one := &list[i]
		if one.Version != version {
			continue
		}
		if said := one.digest(); r.Digest != "" && said != "" && said != r.Digest {
			return nil, &MismatchError{What: "version " + gitindex.Clean(version, 60), Pinned: r.Digest, Found: said}
		}
		return one, nil
	}
	return nil, refused("the index has no version %q", gitindex.Clean(version, 60))
}

// chartURL is the first of a release, which may be relative to the repository.
func chartURL(repository *url.URL, one *release) (*url.URL, error) {
	if len(one.URLs) == 0 {
		return nil, refused("the index gives no URL for version %s", gitindex.Clean(one.Version, 60))
	}
	u, err := url.Parse(one.URLs[0])
	if err != nil {
		return nil, refused("the index gives a URL that does not parse for version %s", gitindex.Clean(one.Version, 60))
	}
	base := *repository
	base.Path += "/"
	u = base.ResolveReference(u)
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, refused("the index gives a URL of scheme %q", gitindex.Clean(u.Scheme, 20))
	}
	return u, nil
}

// parseURL takes an absolute URL by which content may be fetched.
func parseURL(text string) (*url.URL, error) {
	if len(text) > 2048 || gitindex.Clean(text, 4096) != text {
		return nil, refused("a URL with control characters or of more than 2048 bytes")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, refused("the URL does not parse") // url.Parse would repeat a password
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, refused("URL scheme %q: want https", gitindex.Clean(u.Scheme, 20))
	case u.Host == "":
		return nil, refused("a URL without a host")
	case u.User != nil:
		return nil, refused("a user in the URL for %s: put it into the credentials", gitindex.Clean(u.Host, 200))
	case u.Fragment != "":
		return nil, refused("a URL with a fragment")
	}
	return u, nil
}

// remoteFile gets one file as it stands.
func (c *client) remoteFile(ctx context.Context, r *request) (*fetched, error) {
	u, err := parseURL(r.URL)
	if err != nil {
		return nil, err
	}
	blob, err := c.get(ctx, question{url: u}, c.limits.Archive, "the file at "+u.Host)
	if err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	return &fetched{Digest: digestOf(blob), blob: blob}, nil
}

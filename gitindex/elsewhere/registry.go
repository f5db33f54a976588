package elsewhere

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// registry is one repository of an OCI registry, in the words of the
// distribution specification (opencontainers/distribution-spec).
type registry struct {
	client *client
	base   url.URL // https://host/v2/name
	name   string
	token  string
}

// repositoryName is the specification's, and tagName too.
var (
	repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagName        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// parseOCI splits oci://host/name.
func parseOCI(text string) (host, name string, err error) {
	rest, ok := strings.CutPrefix(text, "oci://")
	host, name, named := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if !ok || !named || host == "" || len(text) > 2048 || !repositoryName.MatchString(name) {
		return "", "", refused("%q is not oci://host/name", gitindex.CleanURL(text, 200))
	}
	if u, err := url.Parse("https://" + host); err != nil || u.Host != host || u.Hostname() == "" {
		return "", "", refused("%q is not oci://host/name", gitindex.CleanURL(text, 200))
	}
	if host == "docker.io" {
		host = "registry-1.docker.io"
		if !strings.Contains(name, "/") {
			name = "library/" + name
		}
	}
	return host, name, nil
}

func (c *client) registry(text string) (*registry, error) {
	host, name, err := parseOCI(text)
	if err != nil {
		return nil, err
	}
	base := url.URL{Scheme: "https", Host: host, Path: "/v2/" + name}
	entry, err := c.hosts.allow(&base)
	if err != nil {
		return nil, err
	}
	if entry.InsecureHTTP { // oci:// says nothing of it: the list does
		base.Scheme = "http"
	}
	return &registry{client: c, base: base, name: name}, nil
}

// The media types that are asked for and understood.
const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	helmLayer      = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	cosignLayer    = "application/vnd.dev.cosign.simplesigning.v1+json"
)

// get reads what lies under a path of the repository, with the token that the
// registry sends people for when they have none.
func (r *registry) get(ctx context.Context, at *url.URL, accept []string, limit int64, what string) ([]byte, *http.Response, error) {
	for attempt := 0; ; attempt++ {
		res, err := r.client.ask(ctx, question{url: at, accept: accept, bearer: r.token})
		if err != nil {
			return nil, nil, err
		}
		if res.StatusCode == http.StatusUnauthorized && attempt == 0 {
			res.Body.Close()
			if err := r.login(ctx, res); err != nil {
				return nil, nil, err
			}
			continue
		}
		if err := checkStatus(res); err != nil {
			return nil, nil, err
		}
		data, err := read(res, limit, what)
		return data, res, err
	}
}

// challenge is one parameter of a WWW-Authenticate header (RFC 9110, 11.6.1).
var challenge = regexp.MustCompile(`([a-zA-Z_]+)="([^"]*)"`)

// login gets a token. The realm is as good as a redirect: its host must be on
// the list, and sees its own credentials, never the registry's.
func (r *registry) login(ctx context.Context, res *http.Response) error {
	header := res.Header.Get("WWW-Authenticate")
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || res.Request.URL.Host != r.base.Host {
		return fmt.Errorf("%s wants other credentials (HTTP status 401)", r.base.Host)
	}
	said := map[string]string{}
	for _, m := range challenge.FindAllStringSubmatch(rest, 16) {
		said[strings.ToLower(m[1])] = m[2]
	}
	realm, err := parseURL(said["realm"])
	if err != nil {
		return fmt.Errorf("the registry's realm: %w", err)
	}
	if r.base.Scheme == "https" && realm.Scheme != "https" {
		return refused("the registry's realm is not https")
	}
	query := realm.Query()
	// The scope is what is needed, not what the registry would like.
	query.Set("scope", "repository:"+r.name+":pull")
	if said["service"] != "" {
		query.Set("service", said["service"])
	}
	realm.RawQuery = query.Encode()
	data, err := r.client.get(ctx, question{url: realm}, r.client.limits.Manifest, "the token")
	if err != nil {
		return fmt.Errorf("getting a token: %w", err)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return refused("the token's answer does not parse")
	}
	if r.token = answer.Token; r.token == "" {
		r.token = answer.AccessToken
	}
	if r.token == "" || strings.ContainsAny(r.token, "\r\n") {
		return refused("the realm %s gives no token", gitindex.Clean(realm.Host, 200))
	}
	return nil
}

// manifest reads one by tag or digest.
func (r *registry) manifest(ctx context.Context, reference string) ([]byte, error) {
	data, _, err := r.get(ctx, r.base.JoinPath("manifests", reference), []string{ociManifest, dockerManifest}, r.client.limits.Manifest, "the manifest")
	return data, err
}

func (r *registry) blob(ctx context.Context, digest string, limit int64) ([]byte, error) {
	data, _, err := r.get(ctx, r.base.JoinPath("blobs", digest), nil, limit, "the blob")
	return data, err
}

// tags lists all of them, page by page.
func (r *registry) tags(ctx context.Context) ([]string, error) {
	var all []string
	at := r.base.JoinPath("tags", "list")
	at.RawQuery = "n=1000"
	for pages := 0; ; pages++ {
		data, res, err := r.get(ctx, at, nil, r.client.limits.Manifest, "the list of tags")
		if err != nil {
			return nil, fmt.Errorf("listing tags: %w", err)
		}
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(data, &page); err != nil {
			return nil, refused("the list of tags does not parse")
		}
		all = append(all, page.Tags...)
		if len(all) > r.client.limits.Tags || pages > r.client.limits.Tags/100 {
			return nil, refused("there are more than %d tags: name an exact version", r.client.limits.Tags)
		}
		next, ok := nextPage(res.Header.Get("Link"))
		if !ok {
			return all, nil
		}
		if at, err = at.Parse(next); err != nil || at.Host != r.base.Host || at.Scheme != r.base.Scheme {
			return nil, refused("the next page of tags is elsewhere")
		}
	}
}

var linkNext = regexp.MustCompile(`^<([^>]*)>\s*;\s*rel="?next"?`)

func nextPage(link string) (string, bool) {
	m := linkNext.FindStringSubmatch(link)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// ociContent gets the archive that a reference leads to: a chart as Helm pushes
// it, or an artifact as Flux does.
func (c *client) ociContent(ctx context.Context, q *request) (*fetched, error) {
	r, err := c.registry(q.OCI)
	if err != nil {
		return nil, err
	}
	f := &fetched{Version: q.Version}
	if q.Digest != "" {
		f.Manifest, err = r.manifest(ctx, q.Digest)
	} else {
		f.Manifest, f.Version, err = r.resolve(ctx, q)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	f.Digest = digestOf(f.Manifest)
	layer, err := contentLayer(f.Manifest)
	if err != nil {
		return nil, err
	}
	if f.blob, err = r.blob(ctx, layer, c.limits.Archive); err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	if q.Signatures {
		f.Signatures, err = r.signatures(ctx, f.Digest)
	}
	return f, err
}

// resolve finds what a version stands for: the tag of that very name, else the
// best of those that fit it as a range. Tags have no plus sign.
func (r *registry) resolve(ctx context.Context, q *request) (manifest []byte, version string, err error) {
	if tag := strings.ReplaceAll(q.Version, "+", "_"); tagName.MatchString(tag) {
		manifest, err = r.manifest(ctx, tag)
		if err == nil || q.Tag || exact(q.Version) || !errors.Is(err, errNotFound) {
			return manifest, q.Version, err
		}
	}
	if q.Tag || exact(q.Version) {
		return nil, "", refused("%q is no tag", gitindex.Clean(q.Version, 100))
	}
	tags, err := r.tags(ctx)
	if err != nil {
		return nil, "", err
	}
	for i := range tags {
		tags[i] = strings.ReplaceAll(tags[i], "_", "+")
	}
	if version, err = choose(tags, q.Version); err != nil {
		return nil, "", err
	}
	tag := strings.ReplaceAll(version, "+", "_")
	if !tagName.MatchString(tag) {
		return nil, "", refused("%q is no tag", gitindex.Clean(tag, 100))
	}
	manifest, err = r.manifest(ctx, tag)
	return manifest, version, err
}

// contentLayer is the digest of the one layer that is the archive: Helm's, or
// else the first that is a gzipped tar archive, as Flux takes it.
func contentLayer(manifest []byte) (string, error) {
	m, err := parseManifest(manifest)
	if err != nil {
		return "", err
	}
	chosen := ""
	for _, l := range m.Layers {
		if l.MediaType == helmLayer {
			chosen = l.Digest
			break
		}
		if chosen == "" && (strings.HasSuffix(l.MediaType, "tar+gzip") || strings.HasSuffix(l.MediaType, "tar.gzip")) {
			chosen = l.Digest
		}
	}
	if !sha256Digest.MatchString(chosen) {
		return "", refused("the manifest has no layer that is a gzipped archive")
	}
	return chosen, nil
}

type manifest struct {
	MediaType string  `json:"mediaType"`
	Layers    []layer `json:"layers"`
}

type layer struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
}

func parseManifest(data []byte) (*manifest, error) {
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, refused("the manifest does not parse")
	}
	if m.MediaType != "" && m.MediaType != ociManifest && m.MediaType != dockerManifest {
		return nil, refused("the manifest is of type %q: want an artifact's", gitindex.Clean(m.MediaType, 100))
	}
	return &m, nil
}

// signatures gets those that cosign keeps beside an artifact: under a tag that
// is the artifact's digest (sigstore/cosign, specs/SIGNATURE_SPEC.md).
func (r *registry) signatures(ctx context.Context, digest string) ([]cosignature, error) {
	data, err := r.manifest(ctx, strings.Replace(digest, ":", "-", 1)+".sig")
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the signatures: %w", err)
	}
	m, err := parseManifest(data)
	if err != nil {
		return nil, err
	}
	var all []cosignature
	for _, l := range m.Layers {
		signature := l.Annotations["dev.cosignproject.cosign/signature"]
		if l.MediaType != cosignLayer || signature == "" || !sha256Digest.MatchString(l.Digest) {
			continue
		}
		if len(all) == 16 {
			break
		}
		payload, err := r.blob(ctx, l.Digest, 64<<10)
		if err != nil {
			return nil, fmt.Errorf("reading a signature: %w", err)
		}
		all = append(all, cosignature{Payload: payload, Signature: signature})
	}
	return all, nil
}

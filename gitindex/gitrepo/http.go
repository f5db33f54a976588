package gitrepo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// httpTarget is a remote over HTTP or HTTPS, with a client of its own: neither
// connections nor trust are shared between remotes.
type httpTarget struct {
	client *http.Client
	base   *url.URL
	creds  Credentials
}

func newHTTP(r Remote, u *url.URL) (*httpTarget, error) {
	creds := r.Credentials
	if u.User != nil && creds.Username == "" {
		creds.Username = u.User.Username()
	}
	base := *u
	base.User, base.RawQuery, base.Fragment = nil, "", ""
	base.Path = strings.TrimSuffix(base.Path, "/")
	switch {
	case u.Host == "":
		return nil, refused("a URL without a host")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, refused("a URL with a query or a fragment")
	case len(creds.Identity) > 0:
		return nil, refused("an SSH identity for %s: use an ssh:// URL", u.Scheme)
	case u.Scheme == "http" && creds.secretForHTTP():
		return nil, refused("credentials are not sent over plain http: use https")
	}
	config, err := creds.tls()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    30 * time.Second,
		ResponseHeaderTimeout:  2 * time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true, // packs are compressed; a compressed answer could unpack past every cap
		ForceAttemptHTTP2:      true,
	}
	return &httpTarget{
		client: &http.Client{Transport: transport, CheckRedirect: sameHost},
		base:   &base, creds: creds,
	}, nil
}

// tls pins the given authorities: they take the place of the system's.
func (c Credentials) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, refused("ca.crt holds no PEM certificate")
		}
	}
	if len(c.ClientCert) > 0 {
		pair, err := tls.X509KeyPair(c.ClientCert, c.ClientKey)
		if err != nil {
			return nil, refused("tls.crt and tls.key do not make a pair")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// sameHost follows a redirect within the scheme, host and port that the
// operator named, and no other.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || !strings.EqualFold(req.URL.Host, first.Host) {
		return refused("the server redirects to %s://%s: name that in the URL if it is right",
			gitindex.Clean(req.URL.Scheme, 20), gitindex.Clean(req.URL.Host, 100))
	}
	if len(via) > 5 {
		return refused("the server redirects without end")
	}
	return nil
}

func (t *httpTarget) dial(_ context.Context, r *Repo) (source, error) {
	return &conversation{wire: &httpWire{httpTarget: t, at: t.base}, limits: r.limits}, nil
}

// httpWire is the smart protocol over HTTP (gitprotocol-http(5)).
type httpWire struct {
	*httpTarget
	at *url.URL // base, or where the server has redirected to
}

const infoRefs = "/info/refs"

func (w *httpWire) greeting(ctx context.Context) (*packets, error) {
	u := *w.base
	u.Path += infoRefs
	u.RawQuery = "service=git-upload-pack"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	res, err := w.do(req, "application/x-git-upload-pack-advertisement")
	if err != nil {
		return nil, err
	}
	if at := *res.Request.URL; strings.HasSuffix(at.Path, infoRefs) {
		at.Path, at.RawPath, at.RawQuery = strings.TrimSuffix(at.Path, infoRefs), "", ""
		w.at = &at
	}
	return newPackets(res.Body, res.Body), nil
}

func (w *httpWire) ask(ctx context.Context, request []byte) (*packets, error) {
	u := *w.at
	u.Path += "/git-upload-pack"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	res, err := w.do(req, "application/x-git-upload-pack-result")
	if err != nil {
		return nil, err
	}
	return newPackets(res.Body, res.Body), nil
}

func (w *httpWire) do(req *http.Request, accept string) (*http.Response, error) {
	req.Header.Set("Accept", accept)
	req.Header.Set("Git-Protocol", "version=2")
	// Forges tell git clients from browsers by the first word.
	req.Header.Set("User-Agent", "git/2 gitward")
	if w.creds.BearerToken != "" {
		req.Header.Set("Authorization", "Bearer "+w.creds.BearerToken)
	} else if w.creds.secretForHTTP() {
		req.SetBasicAuth(w.creds.Username, w.creds.Password)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, plainError(err)
	}
	if err := checkAnswer(res, accept); err != nil {
		res.Body.Close()
		return nil, err
	}
	return res, nil
}

// plainError takes off the URL that net/http puts before every error: Fetch
// names the remote itself.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if err == io.EOF {
		return fmt.Errorf("the server hangs up: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func checkAnswer(res *http.Response, accept string) error {
	switch {
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w (HTTP status %d): check the credentials", ErrDenied, res.StatusCode)
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: the server knows no such repository, or not for these credentials (HTTP status 404)", ErrDenied)
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("the server answers with HTTP status %d", res.StatusCode)
	case res.Header.Get("Content-Type") != accept:
		return fmt.Errorf("%w: it is of type %q", errNotGit, gitindex.Clean(res.Header.Get("Content-Type"), 80))
	}
	return nil
}

func (w *httpWire) close() error { return nil }

package elsewhere

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// client speaks HTTP to the hosts of a list. It runs in the child.
type client struct {
	hosts  Hosts
	limits Limits
	used   map[string]bool // the hosts that were spoken to
	http   *http.Client
}

func newClient(hosts Hosts, limits Limits) *client {
	c := &client{hosts: hosts, limits: limits, used: map[string]bool{}}
	c.http = &http.Client{CheckRedirect: c.redirect, Transport: &hops{client: c, dialled: map[string]http.RoundTripper{}}}
	return c
}

func (c *client) hostsUsed() []string { return slices.Sorted(maps.Keys(c.used)) }

// errNotFound: the host knows nothing of that name.
var errNotFound = errors.New("there is no such thing there")

// question is one request.
type question struct {
	url    *url.URL
	accept []string
	bearer string
	// anonymous leaves the host's credentials out.
	anonymous bool
}

// ask sends a question, and follows redirects to hosts of the list. Only the
// first host sees credentials, and only as long as all goes over https.
func (c *client) ask(ctx context.Context, q question) (*http.Response, error) {
	host, err := c.hosts.allow(q.url)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url.String(), nil)
	if err != nil {
		return nil, refused("the URL does not parse")
	}
	req.Header["Accept"] = q.accept
	req.Header.Set("User-Agent", "gitward")
	switch {
	case q.url.Scheme != "https":
	case q.bearer != "":
		req.Header.Set("Authorization", "Bearer "+q.bearer)
	case host.Credentials.set() && !q.anonymous:
		req.SetBasicAuth(host.Credentials.Username, host.Credentials.Password)
	}
	c.used[strings.ToLower(q.url.Host)] = true
	res, err := c.http.Do(req)
	if err != nil {
		return nil, plainError(q.url, err)
	}
	return res, nil
}

func tlsOf(host Host) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(host.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(host.CA) {
			return nil, refused("the ca.crt for %s holds no PEM certificate", gitindex.Clean(host.Name, 200))
		}
	}
	return config, nil
}

// hops has one transport for each host on the way, so that neither connections
// nor authorities are shared.
type hops struct {
	client  *client
	dialled map[string]http.RoundTripper
}

func (h *hops) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.URL.Scheme + "://" + req.URL.Host
	if h.dialled[key] == nil {
		host, err := h.client.hosts.allow(req.URL)
		if err != nil {
			return nil, err
		}
		config, err := tlsOf(host)
		if err != nil {
			return nil, err
		}
		h.dialled[key] = h.client.transport(host, config)
	}
	return h.dialled[key].RoundTrip(req)
}

func (c *client) transport(host Host, config *tls.Config) *http.Transport {
	return &http.Transport{
		// No proxy: it would dial in our place, and no address be checked.
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return c.hosts.dial(ctx, network, addr, host)
		},
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    20 * time.Second,
		ResponseHeaderTimeout:  time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // a compressed answer could unpack past every cap
		ForceAttemptHTTP2:      true,
	}
}

// redirect looks at each hop as at a URL that an operator wrote. net/http would
// carry the credentials to subdomains, and the last URL as the referer.
func (c *client) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > 5 {
		return refused("the server redirects without end")
	}
	last := via[len(via)-1].URL
	if last.Scheme == "https" && req.URL.Scheme != "https" {
		return refused("the server redirects from https to %s", gitindex.Clean(req.URL.Scheme, 20))
	}
	if _, err := c.hosts.allow(req.URL); err != nil {
		return fmt.Errorf("the server redirects: %w", err)
	}
	for _, hop := range append(slices.Clone(via), req) {
		if hop.URL.Scheme != via[0].URL.Scheme || !strings.EqualFold(hop.URL.Host, via[0].URL.Host) {
			req.Header.Del("Authorization")
		}
	}
	req.Header.Del("Referer")
	c.used[strings.ToLower(req.URL.Host)] = true
	return nil
}

// plainError takes off the URL that net/http puts before every error: its query
// may be a secret.
func plainError(u *url.URL, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &awayError{fmt.Errorf("asking %s: %w", gitindex.Clean(u.Host, 200), err)}
}

// awayError says that a host does not answer, which may be otherwise soon.
type awayError struct{ error }

func (e *awayError) Unwrap() error { return e.error }

// away reports whether the host is what fails, and not what is asked of it.
func away(err error) bool {
	var e *awayError
	return !errors.Is(err, ErrRefused) && (errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded))
}

// checkStatus closes the body of an answer that says no.
func checkStatus(res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	res.Body.Close()
	host := gitindex.Clean(res.Request.URL.Host, 200)
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s wants other credentials (HTTP status %d)", host, res.StatusCode)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%w (%s, HTTP status %d)", errNotFound, host, res.StatusCode)
	}
	err := fmt.Errorf("%s answers with HTTP status %d", host, res.StatusCode)
	if res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests {
		return &awayError{err}
	}
	return err
}

// read takes a body within a limit.
func read(res *http.Response, limit int64, what string) ([]byte, error) {
	defer res.Body.Close()
	if res.ContentLength > limit {
		return nil, refused("%s is %d bytes, more than the limit of %d", what, res.ContentLength, limit)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if late := res.Request.Context().Err(); err == nil && late != nil {
		err = late // a server that hears us go may end its answer as if it were whole
	}
	switch {
	case err != nil:
		return nil, plainError(res.Request.URL, err)
	case int64(len(data)) > limit:
		return nil, refused("%s is more than the limit of %d bytes", what, limit)
	}
	return data, nil
}

// get asks and reads.
func (c *client) get(ctx context.Context, q question, limit int64, what string) ([]byte, error) {
	res, err := c.ask(ctx, q)
	if err == nil {
		err = checkStatus(res)
	}
	if err != nil {
		return nil, err
	}
	return read(res, limit, what)
}

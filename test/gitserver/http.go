package gitserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// HTTPOptions configure an HTTP server.
type HTTPOptions struct {
	Root string // the directory that holds the repositories

	// With a user name or a token, requests without it are answered with 401.
	Username, Password string
	BearerToken        string

	TLS        bool
	ClientCA   []byte // PEM: ask for a client certificate of this authority
	NoVersion2 bool   // speak protocol version 0 only
}

// HTTP is a running server.
type HTTP struct {
	URL string // "https://127.0.0.1:port", without a path
	CA  []byte // PEM of the authority behind a TLS server

	server  *httptest.Server
	options HTTPOptions
	backend string

	mu       sync.Mutex
	requests []Request
	fault    Fault
	done     chan struct{}
}

// Request is one request as the server saw it.
type Request struct {
	Method, Path, Query string
	Authorization       string
	GitProtocol         string
}

// Fault is what goes wrong with requests whose path ends in On; the zero value
// is nothing.
type Fault struct {
	On       string // "/info/refs", "/git-upload-pack"; empty: every request
	Delay    time.Duration
	Hang     bool   // until the client goes away or the server is closed
	Status   int    // answer with this
	Redirect string // answer with a redirect to this URL, path and query appended
	Truncate int64  // cut the answer off after so many bytes of body
	Endless  bool   // answer a request for a pack with data without end
	Flood    bool   // answer with refs without end
}

// NewHTTP starts a server.
func NewHTTP(options HTTPOptions) (*HTTP, error) {
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("finding git http-backend: %w", err)
	}
	h := &HTTP{options: options, backend: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), done: make(chan struct{})}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	h.server.Config.ErrorLog = log.New(&bytes.Buffer{}, "", 0)
	if !options.TLS {
		h.server.Start()
		h.URL = h.server.URL
		return h, nil
	}
	if err := h.startTLS(); err != nil {
		return nil, err
	}
	h.URL = h.server.URL
	return h, nil
}

func (h *HTTP) startTLS() error {
	ca, err := NewAuthority("gitserver test authority")
	if err != nil {
		return err
	}
	pair, err := ca.Issue("127.0.0.1")
	if err != nil {
		return err
	}
	h.CA = ca.PEM
	h.server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if len(h.options.ClientCA) > 0 {
		h.server.TLS.ClientCAs = x509.NewCertPool()
		h.server.TLS.ClientCAs.AppendCertsFromPEM(h.options.ClientCA)
		h.server.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	}
	h.server.StartTLS()
	return nil
}

// Close stops the server, whatever hangs in it.
func (h *HTTP) Close() {
	close(h.done)
	h.server.CloseClientConnections()
	h.server.Close()
}

// SetFault makes requests go wrong from now on.
func (h *HTTP) SetFault(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// Requests gives what has been asked so far.
func (h *HTTP) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Request(nil), h.requests...)
}

func (h *HTTP) note(r *http.Request) Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Authorization: r.Header.Get("Authorization"), GitProtocol: r.Header.Get("Git-Protocol"),
	})
	if strings.HasSuffix(r.URL.Path, h.fault.On) {
		return h.fault
	}
	return Fault{}
}

func (h *HTTP) serve(w http.ResponseWriter, r *http.Request) {
	fault := h.note(r)
	if !h.allowed(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	if fault.happens(w, r, h.done) {
		return
	}
	if fault.Truncate > 0 {
		w = &truncated{ResponseWriter: w, left: fault.Truncate}
	}
	if h.options.NoVersion2 {
		r.Header.Del("Git-Protocol")
	}
	(&cgi.Handler{
		Path:   h.backend,
		Dir:    h.options.Root,
		Env:    []string{"GIT_PROJECT_ROOT=" + h.options.Root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null"},
		Logger: log.New(&bytes.Buffer{}, "", 0),
		Stderr: &bytes.Buffer{},
	}).ServeHTTP(w, r)
}

func (h *HTTP) allowed(r *http.Request) bool {
	o := h.options
	if o.BearerToken != "" {
		return r.Header.Get("Authorization") == "Bearer "+o.BearerToken
	}
	user, password, _ := r.BasicAuth()
	return o.Username == "" && o.Password == "" || user == o.Username && password == o.Password
}

// happens plays the faults that answer by themselves.
func (f Fault) happens(w http.ResponseWriter, r *http.Request, done <-chan struct{}) bool {
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		case <-done:
		}
	}
	wait(f.Delay)
	switch {
	case f.Hang:
		wait(time.Hour)
	case f.Status != 0:
		http.Error(w, "fault", f.Status)
	case f.Redirect != "":
		http.Redirect(w, r, f.Redirect+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	case f.Endless && wantsPack(r):
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		first := "000dpackfile\n"
		if r.Header.Get("Git-Protocol") == "" {
			first = "0008NAK\n"
		}
		stream(w, r, first, fmt.Sprintf("%04x\x01%s", 4+1+60000, strings.Repeat("x", 60000)))
	case f.Flood:
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		line := strings.Repeat("1", 40) + " refs/heads/" + strings.Repeat("x", 200)
		stream(w, r, "001e# service=git-upload-pack\n0000", fmt.Sprintf("%04x%s\n", len(line)+5, line))
	default:
		return false
	}
	return true
}

// wantsPack tells a request for a pack from one for refs.
func wantsPack(r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return err == nil && bytes.Contains(body, []byte("want "))
}

// stream writes for ever: until the client has had enough.
func stream(w http.ResponseWriter, r *http.Request, first, then string) {
	_, err := w.Write([]byte(first))
	for err == nil && r.Context().Err() == nil {
		_, err = w.Write([]byte(then))
	}
}

type truncated struct {
	http.ResponseWriter
	left int64
}

func (t *truncated) Write(p []byte) (int, error) {
	if int64(len(p)) > t.left {
		t.ResponseWriter.Write(p[:t.left])
		panic(http.ErrAbortHandler)
	}
	t.left -= int64(len(p))
	return t.ResponseWriter.Write(p)
}

// Authority is a certificate authority for one test.
type Authority struct {
	PEM  []byte
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, cert, err := certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, key, key)
	if err != nil {
		return nil, err
	}
	return &Authority{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), cert: cert, key: key}, nil
}

// Issue makes a certificate for an address or a name, for servers and clients.
func (a *Authority) Issue(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, _, err := certify(template, a.cert, key, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// PEM writes a pair as tls.crt and tls.key have it.
func PEM(pair tls.Certificate) (cert, key []byte, err error) {
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || len(pair.Certificate) == 0 {
		return nil, nil, errors.New("not a pair that Issue has made")
	}
	der, err := x509.MarshalECPrivateKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}

func certify(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) ([]byte, *x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return der, cert, err
}

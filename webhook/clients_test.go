package webhook

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/test/gitserver"
)

// client makes an authority of its own and a client certificate of it.
func client(t *testing.T) (ca []byte, cert tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestClients: where the API server shows a certificate, nobody else is listened
// to, so that a Pod on the network learns nothing.
func TestClients(t *testing.T) {
	dir := t.TempDir()
	authority, err := gitserver.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := gitserver.PEM(pair)
	if err != nil {
		t.Fatal(err)
	}
	ca, apiServer := client(t)
	_, stranger := client(t)
	files := TLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), ClientCAFile: filepath.Join(dir, "ca.crt")}
	for name, data := range map[string][]byte{files.CertFile: cert, files.KeyFile: key, files.ClientCAFile: ca} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, handler(t, nil), files) }()
	defer func() { cancel(); <-done }()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.PEM)
	ask := func(shown ...tls.Certificate) error {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: shown}}}
		resp, err := c.Post("https://"+l.Addr().String()+"/validate?timeout=5s", "application/json", strings.NewReader(reviewOf("u", configMap("1", ""), "")))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := ask(apiServer); err != nil {
		t.Errorf("the API server is not listened to: %v", err)
	}
	if ask() == nil || ask(stranger) == nil {
		t.Error("a stranger is listened to")
	}
}

package gitrepo

import (
	"fmt"
	"io"
	"sort"
	"strings"
)

// Credentials are what a remote asks for, in the keys of a Flux Git Secret.
// However they are printed, no value shows.
type Credentials struct {
	Username, Password string // HTTP basic authentication
	BearerToken        string // HTTP bearer authentication
	Identity           []byte // SSH private key, PEM
	Passphrase         []byte // of Identity, if it has one
	KnownHosts         []byte // SSH host keys; mandatory for SSH
	CA                 []byte // PEM; the only authorities then, in place of the system's
	ClientCert         []byte // PEM, for mutual TLS
	ClientKey          []byte // PEM
}

// ParseCredentials reads the data of a Secret as Flux writes it. In a Secret
// with an identity, password is the passphrase of the key. An unknown key is
// an error: it is most likely a misspelt one that somebody relies on.
func ParseCredentials(data map[string][]byte) (Credentials, error) {
	var c Credentials
	var unknown []string
	for key, value := range data {
		switch key {
		case "username":
			c.Username = string(value)
		case "password":
			c.Password = string(value)
		case "bearerToken":
			c.BearerToken = string(value)
		case "identity":
			c.Identity = value
		case "identity.pub": // Flux writes it for people; the private key suffices
		case "known_hosts":
			c.KnownHosts = value
		case "caFile", "ca.crt":
			if c.CA != nil {
				return Credentials{}, fmt.Errorf("%w: credentials have both caFile and ca.crt: keep one", ErrRefused)
			}
			c.CA = value
		case "tls.crt", "certFile":
			c.ClientCert = value
		case "tls.key", "keyFile":
			c.ClientKey = value
		default:
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		sort.Strings(unknown)
		return Credentials{}, fmt.Errorf("%w: credentials have unknown keys: %s", ErrRefused, strings.Join(unknown, ", "))
	}
	return c.checked()
}

func (c Credentials) checked() (Credentials, error) {
	if c.Identity != nil {
		c.Passphrase, c.Password = []byte(c.Password), ""
	}
	switch {
	case c.BearerToken != "" && (c.Username != "" || c.Password != ""):
		return Credentials{}, fmt.Errorf("%w: credentials have both username/password and bearerToken: keep one", ErrRefused)
	case (len(c.ClientCert) == 0) != (len(c.ClientKey) == 0):
		return Credentials{}, fmt.Errorf("%w: credentials need both tls.crt and tls.key", ErrRefused)
	}
	return c, nil
}

// secretForHTTP reports whether anything in c would travel in an HTTP header.
func (c Credentials) secretForHTTP() bool {
	return c.Username != "" || c.Password != "" || c.BearerToken != ""
}

// String names which credentials there are, never their values.
func (c Credentials) String() string {
	var have []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"username", c.Username != ""}, {"password", c.Password != ""}, {"bearerToken", c.BearerToken != ""},
		{"identity", len(c.Identity) > 0}, {"known_hosts", len(c.KnownHosts) > 0}, {"ca.crt", len(c.CA) > 0},
		{"tls.crt", len(c.ClientCert) > 0}, {"tls.key", len(c.ClientKey) > 0},
	} {
		if f.set {
			have = append(have, f.name)
		}
	}
	return "credentials(" + strings.Join(have, ", ") + ")"
}

// Format prints String whatever the verb: %+v and %#v would print fields.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalText keeps values out of JSON and structured logs.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

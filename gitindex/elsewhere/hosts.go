package elsewhere

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// Host is one place that content may come from, and what is known of it.
type Host struct {
	// Name is a host, with a port where that is not the scheme's own, or
	// "*.example.org" for each below example.org. Any is for the command line.
	Name string
	// Private lets the name resolve to loopback and private addresses. Without
	// it a repository could have Gitward speak to what stands beside it.
	Private bool
	// InsecureHTTP allows http:// too. Credentials are never sent over it.
	InsecureHTTP bool
	Credentials  Credentials
	CA           []byte // PEM; the only authorities then, in place of the system's
	// Keys are PEM public keys. Where there are any, nothing of the host counts
	// that none of them has signed, in cosign's way.
	Keys []byte
}

// Any is the name that stands for every host.
const Any = "*"

// Credentials are sent to the host they stand with and to no other, not even
// after a redirect. However they are printed, no value shows.
type Credentials struct{ Username, Password string }

func (c Credentials) set() bool { return c != Credentials{} }

// String says whether there are any.
func (c Credentials) String() string {
	if c.set() {
		return "credentials(username, password)"
	}
	return "credentials()"
}

// Format prints String whatever the verb: %+v and %#v would print fields.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalText keeps values out of JSON and structured logs.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Hosts are the places that content may come from. Nil allows none.
type Hosts []Host

// defaultPorts are those of the schemes that content may come by.
var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22"}

// Check says what is wrong with the list, if anything.
func (h Hosts) Check() error {
	for i, host := range h {
		name := strings.TrimPrefix(host.Name, "*.")
		if host.Name == Any {
			name = "any"
		}
		if u, err := url.Parse("https://" + name); err != nil || u.Host != name || u.Hostname() == "" || strings.ContainsAny(name, "*@") || strings.HasSuffix(u.Hostname(), ".") {
			return refused("host %q is not a host, host:port or *.domain", gitindex.Clean(host.Name, 200))
		}
		if strings.Contains(host.Name, "*.") && host.Credentials.set() {
			return refused("credentials for %q: name the one host that gets them", gitindex.Clean(host.Name, 200))
		}
		for _, other := range h[:i] {
			if strings.EqualFold(other.Name, host.Name) {
				return refused("host %q is listed twice", gitindex.Clean(host.Name, 200))
			}
		}
		if len(host.Keys) > 0 {
			if _, err := parseKeys(host.Keys); err != nil {
				return fmt.Errorf("the keys for %s: %w", gitindex.Clean(host.Name, 200), err)
			}
		}
	}
	return nil
}

// notAllowed is the error for a host that is not on the list.
type notAllowed struct{ host string }

func (e *notAllowed) Error() string {
	return fmt.Sprintf("the host %s is not one that the Origin allows", gitindex.Clean(e.host, 200))
}

func (e *notAllowed) Unwrap() error { return ErrRefused }

// allow is the entry that lets the URL be fetched: the one that names it most
// exactly, so that a wildcard never widens what stands for one host.
func (h Hosts) allow(u *url.URL) (Host, error) {
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	name := strings.ToLower(u.Hostname())
	switch {
	case port == "":
		return Host{}, refused("URL scheme %q: want https", gitindex.Clean(u.Scheme, 20))
	case name == "" || strings.HasSuffix(name, "."):
		return Host{}, refused("a URL without a proper host")
	case u.User != nil && u.Scheme != "ssh":
		return Host{}, refused("a user in the URL for %s: put it into the credentials", gitindex.Clean(name, 200))
	}
	host, ok := h.match(name, port, defaultPorts[u.Scheme] == port)
	if !ok {
		return Host{}, &notAllowed{host: u.Host}
	}
	if u.Scheme == "http" && !host.InsecureHTTP {
		return Host{}, refused("plain http to %s is not allowed: use https", gitindex.Clean(u.Host, 200))
	}
	return host, nil
}

func (h Hosts) match(name, port string, usual bool) (Host, bool) {
	best, length := Host{}, -1
	for _, host := range h {
		entry := strings.ToLower(host.Name)
		if entry == Any {
			entry = name
			if length < 0 {
				best, length = host, 0
			}
			continue
		}
		if usual && entryPort(entry) == "" {
			entry = withPort(entry, port)
		}
		suffix, wild := strings.CutPrefix(entry, "*")
		full := withPort(name, port)
		switch {
		case entry == full:
			return host, true
		case wild && strings.HasSuffix(full, suffix) && len(suffix) > length && net.ParseIP(name) == nil:
			best, length = host, len(suffix)
		}
	}
	return best, length >= 0
}

func entryPort(entry string) string {
	return (&url.URL{Host: entry}).Port()
}

func withPort(host, port string) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

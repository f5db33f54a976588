package elsewhere

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// never are addresses at which no host of anybody's stands: those of one link
// (cloud metadata services among them), multicast, and forms that carry another
// address inside. RFC 6890 and IANA's special-purpose registries.
var never = prefixes("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fe80::/10", "fec0::/10", "ff00::/8",
	"fd00:ec2::254/128") // the metadata service of AWS over IPv6

// private are addresses of one's own network, or of this machine.
var private = prefixes("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "::1/128", "fc00::/7")

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func within(a netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// checkAddress refuses an address that a public name has no business with.
func checkAddress(a netip.Addr, host Host) error {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid() || within(a, never):
		return refused("its address %v is a link-local or reserved one", a)
	case within(a, private) && !host.Private:
		return refused("its address %v is a private one, and the host is not marked as private", a)
	}
	return nil
}

// dial connects to a host of the list. What counts is the address that is
// really dialled: a name may resolve to something else each time.
func (h Hosts) dial(ctx context.Context, network, addr string, host Host) (net.Conn, error) {
	d := net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return refused("the address does not parse")
		}
		return checkAddress(to.Addr(), host)
	}
	return d.DialContext(ctx, network, addr)
}

// DialContext connects to host:port as the list allows it, for whoever fetches
// over a protocol of their own. It is for URLs of the scheme.
func (h Hosts) DialContext(scheme string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, err := h.allow(&url.URL{Scheme: scheme, Host: addr})
		if err != nil {
			return nil, err
		}
		return h.dial(ctx, network, addr, host)
	}
}

// checkResolved looks at each address of a URL's host. It is for conversations
// that somebody else leads; where this room dials, the dialled address counts.
func (h Hosts) checkResolved(ctx context.Context, u *url.URL) error {
	host, err := h.allow(u)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", strings.Trim(u.Hostname(), "[]"))
	if err != nil {
		return fmt.Errorf("looking up %s: %w", u.Hostname(), err)
	}
	for _, a := range addresses {
		if err := checkAddress(a, host); err != nil {
			return fmt.Errorf("%s: %w", u.Hostname(), err)
		}
	}
	return nil
}

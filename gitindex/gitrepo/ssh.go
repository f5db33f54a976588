package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/gitward/gitward/gitindex"
)

// sshTarget is a remote over SSH. There is no agent, no configuration file of
// a user and no unknown host: key and known_hosts come with the remote.
type sshTarget struct {
	addr, path string
	config     ssh.ClientConfig
}

func newSSH(r Remote, u *url.URL) (*sshTarget, error) {
	c := r.Credentials
	switch {
	case u.Hostname() == "" || strings.Trim(u.Path, "/") == "":
		return nil, refused("an ssh URL needs a host and a path")
	case len(c.Identity) == 0:
		return nil, refused("ssh needs credentials with an identity")
	case len(c.KnownHosts) == 0:
		return nil, refused("ssh needs credentials with known_hosts")
	}
	signer, err := c.signer()
	if err != nil {
		return nil, err
	}
	t := &sshTarget{addr: net.JoinHostPort(u.Hostname(), "22"), path: u.Path}
	if port := u.Port(); port != "" {
		t.addr = net.JoinHostPort(u.Hostname(), port)
	}
	hosts, err := readKnownHosts(c.KnownHosts)
	if err != nil {
		return nil, err
	}
	t.config = ssh.ClientConfig{
		User:            "git",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: hosts.HostKeyCallback(),
		// Only what known_hosts has a key for: else the server may offer a key
		// of another type, and a known host would look like a wrong one.
		HostKeyAlgorithms: hosts.HostKeyAlgorithms(t.addr),
		ClientVersion:     "SSH-2.0-gitward",
	}
	if len(t.config.HostKeyAlgorithms) == 0 {
		return nil, refused("known_hosts has no key for %s", gitindex.Clean(t.addr, 100))
	}
	if u.User != nil && u.User.Username() != "" {
		t.config.User = u.User.Username()
	}
	return t, nil
}

// signer never repeats what the parser says: it may quote the key.
func (c Credentials) signer() (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(c.Identity)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		if len(c.Passphrase) == 0 {
			return nil, refused("the identity has a passphrase: put it under password")
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(c.Identity, c.Passphrase)
	}
	if err != nil {
		return nil, refused("the identity is not a private key that can be read")
	}
	return signer, nil
}

// readKnownHosts goes through a file, because the parser reads nothing else.
func readKnownHosts(text []byte) (*knownhosts.HostKeyDB, error) {
	f, err := os.CreateTemp("", "known_hosts")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	hosts, err := knownhosts.NewDB(f.Name())
	if err != nil {
		return nil, refused("known_hosts does not parse")
	}
	return hosts, nil
}

func (t *sshTarget) dial(ctx context.Context, r *Repo) (source, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	// The SSH library knows no context: closing the connection ends everything.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	w := &sshWire{stop: stop, path: t.path}
	c, chans, reqs, err := ssh.NewClientConn(conn, t.addr, &t.config)
	if err != nil {
		stop()
		conn.Close()
		return nil, sshError(err)
	}
	w.client = ssh.NewClient(c, chans, reqs)
	return &conversation{wire: w, limits: r.limits}, nil
}

func sshError(err error) error {
	var key *ssh.ServerAuthError
	switch {
	case knownhosts.IsHostKeyChanged(err):
		return refused("the server's host key is not the one in known_hosts")
	case knownhosts.IsHostUnknown(err):
		return refused("the server's host is not in known_hosts")
	case errors.As(err, &key), strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%w: it does not accept the identity", ErrDenied)
	}
	return err
}

// sshWire runs git-upload-pack at the other end.
type sshWire struct {
	client *ssh.Client
	stop   func() bool
	path   string
	in     io.WriteCloser
	out    *packets
}

func (w *sshWire) greeting(context.Context) (*packets, error) {
	session, err := w.client.NewSession()
	if err != nil {
		return nil, err
	}
	if w.in, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// Many servers let no environment through, and then speak version 0.
	_ = session.Setenv("GIT_PROTOCOL", "version=2")
	if err := session.Start("git-upload-pack " + shellQuote(w.path)); err != nil {
		return nil, err
	}
	w.out = newPackets(out, nil) // the stream outlives each answer
	return w.out, nil
}

func (w *sshWire) ask(_ context.Context, request []byte) (*packets, error) {
	if _, err := w.in.Write(request); err != nil {
		return nil, err
	}
	return w.out, nil
}

func (w *sshWire) close() error {
	w.stop()
	if w.in != nil {
		// Nothing more is wanted; upload-pack then leaves without a complaint.
		_, _ = w.in.Write([]byte(flushPacket))
	}
	return w.client.Close()
}

// shellQuote quotes as git does, for the shell at the other end.
func shellQuote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

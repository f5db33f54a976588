package gitserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHOptions configure an SSH server.
type SSHOptions struct {
	Root       string // the directory that holds the repositories
	Authorized []ssh.PublicKey
	NoVersion2 bool // let no environment through, as most servers
}

// SSH is a running server that lets the authorized keys fetch, and nothing else.
type SSH struct {
	Addr       string // "127.0.0.1:port"
	KnownHosts []byte // the line a client needs

	options  SSHOptions
	listener net.Listener
	config   *ssh.ServerConfig

	mu       sync.Mutex
	conns    map[net.Conn]bool
	commands []string
}

// NewSSH starts a server with a fresh host key.
func NewSSH(options SSHOptions) (*SSH, error) {
	host, err := NewSSHSigner()
	if err != nil {
		return nil, err
	}
	s := &SSH{options: options, conns: map[net.Conn]bool{}}
	s.config = &ssh.ServerConfig{PublicKeyCallback: s.authorize}
	s.config.AddHostKey(host.Key)
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.Addr = s.listener.Addr().String()
	s.KnownHosts = []byte(knownhosts.Line([]string{knownhosts.Normalize(s.Addr)}, host.Key.PublicKey()) + "\n")
	go s.accept()
	return s, nil
}

// URL is the ssh:// URL of a repository under Root.
func (s *SSH) URL(repo string) string { return "ssh://git@" + s.Addr + "/" + repo }

// Commands gives what clients have run so far.
func (s *SSH) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// Close stops the server and its connections.
func (s *SSH) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
	return err
}

func (s *SSH) authorize(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	for _, k := range s.options.Authorized {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return nil, nil
		}
	}
	return nil, errors.New("unknown key")
}

func (s *SSH) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		go func() {
			s.talk(conn)
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		}()
	}
}

func (s *SSH) talk(conn net.Conn) {
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			offered.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

func (s *SSH) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	version := ""
	for req := range requests {
		switch req.Type {
		case "env":
			var env struct{ Name, Value string }
			ok := ssh.Unmarshal(req.Payload, &env) == nil && env.Name == "GIT_PROTOCOL" && !s.options.NoVersion2
			if ok {
				version = env.Value
			}
			req.Reply(ok, nil)
		case "exec":
			var exec struct{ Command string }
			if ssh.Unmarshal(req.Payload, &exec) != nil {
				req.Reply(false, nil)
				return
			}
			req.Reply(true, nil)
			status := s.run(channel, exec.Command, version)
			channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			return
		default:
			req.Reply(false, nil)
		}
	}
}

// run serves one command: upload-pack of a repository under Root.
func (s *SSH) run(channel ssh.Channel, command, version string) uint32 {
	s.mu.Lock()
	s.commands = append(s.commands, command)
	s.mu.Unlock()
	path, ok := strings.CutPrefix(command, "git-upload-pack ")
	path = strings.Trim(path, "'")
	if !ok || strings.Contains(path, "..") {
		fmt.Fprintln(channel.Stderr(), "only git-upload-pack is served")
		return 128
	}
	cmd := exec.Command("git", "upload-pack", filepath.Join(s.options.Root, path))
	cmd.Env = append(os.Environ(), "GIT_PROTOCOL="+version, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 128
	}
	go func() {
		io.Copy(in, channel)
		in.Close()
	}()
	if cmd.Wait() != nil {
		return 1
	}
	return 0
}

// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// server is an SSH server on the loopback address that runs commands by sh, each in a session of its
// own as sshd does, and serves files.
type server struct {
	key      ssh.Signer
	client   ssh.Signer // who may come in
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func newServer(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{key: newSigner(t), client: newSigner(t), listener: l}
	t.Cleanup(func() {
		l.Close()
		s.cut()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			go s.serve(conn)
		}
	}()
	return s
}

// cut ends all connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func (s *server) serve(conn net.Conn) {
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(s.client.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(s.key)
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

func (s *server) session(c ssh.Channel, requests <-chan *ssh.Request) {
	for r := range requests {
		switch r.Type {
		case "exec":
			_ = r.Reply(true, nil)
			go run(c, string(r.Payload[4:]))
		case "subsystem":
			_ = r.Reply(true, nil)
			go func() {
				if files, err := sftp.NewServer(c); err == nil {
					_ = files.Serve()
				}
				c.Close()
			}()
		default:
			_ = r.Reply(false, nil)
		}
	}
}

func run(c ssh.Channel, line string) {
	defer c.Close()
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout, cmd.Stderr = c, c.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(in, c)
		in.Close()
	}()
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		_, _ = c.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name           string
			Core           bool
			Text, Language string
		}{"KILL", false, "", ""}))
		return
	}
	_, _ = c.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(cmd.ProcessState.ExitCode())))
}

// fleet returns a fleet whose one node is the server, with that key pinned for it.
func (s *server) fleet(t *testing.T, pinned ...ssh.PublicKey) *remote.Fleet {
	t.Helper()
	address := s.listener.Addr().(*net.TCPAddr).AddrPort()
	inv := &inventory.Inventory{
		Path: "inventory.yaml", SSH: inventory.SSH{User: "root", Port: int(address.Port())},
		Nodes: []inventory.Node{{Name: "node-1", Address: netip.IPv6Loopback()}},
	}
	var known strings.Builder
	for _, key := range pinned {
		fmt.Fprintln(&known, knownhosts.Line([]string{knownhosts.Normalize(address.String())}, key))
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(known.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f := remote.Open(inv, remote.Keys{Identity: s.client, KnownHosts: file}, nil, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { f.Close() })
	return f
}

// SPDX-License-Identifier: Apache-2.0

// Package sshtest has SSH servers for tests: nodes that run commands by sh on this machine.
package sshtest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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

// Host is an SSH server on the loopback address that runs commands by sh, each in a session of its own as sshd does, and
// serves this machine's files.
type Host struct {
	Key ssh.Signer // what it shows; Take changes it
	Env []string   // of commands, beside this process's

	client   ssh.PublicKey // who may come in
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
}

// NewKey makes a key.
func NewKey(t testing.TB) ssh.Signer {
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

// NewHost starts a host that lets the owner of client in. It ends with the test.
func NewHost(t testing.TB, client ssh.PublicKey, env ...string) *Host {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{Key: NewKey(t), Env: env, client: client, listener: l}
	t.Cleanup(func() {
		l.Close()
		h.Cut()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			h.conns = append(h.conns, conn)
			h.mu.Unlock()
			go h.serve(conn)
		}
	}()
	return h
}

// Address returns where the host listens.
func (h *Host) Address() *net.TCPAddr { return h.listener.Addr().(*net.TCPAddr) }

// Take has the host show another key from now on.
func (h *Host) Take(key ssh.Signer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Key = key
}

// Cut ends all connections.
func (h *Host) Cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		c.Close()
	}
	h.conns = nil
}

// Fleet returns a fleet whose nodes are the hosts, each with the key pinned that the host of that name shows. The addresses
// are the inventory's: dialling them reaches the hosts. Nodes without a host are unreachable.
func Fleet(t testing.TB, inv *inventory.Inventory, client ssh.Signer, hosts map[string]*Host) *remote.Fleet {
	t.Helper()
	var known strings.Builder
	for _, n := range inv.Nodes {
		if h := hosts[n.Name]; h != nil {
			address := net.JoinHostPort(n.Address.String(), fmt.Sprint(inv.SSH.Port))
			fmt.Fprintln(&known, knownhosts.Line([]string{knownhosts.Normalize(address)}, h.Key.PublicKey()))
		}
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(known.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f := remote.Open(inv, remote.Keys{Identity: client, KnownHosts: file}, Dial(inv, hosts), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { f.Close() })
	return f
}

// Dial reaches hosts by the addresses that the inventory gives to nodes.
func Dial(inv *inventory.Inventory, hosts map[string]*Host) remote.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		for _, n := range inv.Nodes {
			if h := hosts[n.Name]; h != nil && address == net.JoinHostPort(n.Address.String(), fmt.Sprint(inv.SSH.Port)) {
				return (&net.Dialer{}).DialContext(ctx, network, h.Address().String())
			}
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.EHOSTUNREACH}
	}
}

func (h *Host) serve(conn net.Conn) {
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(h.client.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	h.mu.Lock()
	config.AddHostKey(h.Key)
	h.mu.Unlock()
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
		go h.session(channel, requests)
	}
}

func (h *Host) session(c ssh.Channel, requests <-chan *ssh.Request) {
	for r := range requests {
		switch r.Type {
		case "exec":
			_ = r.Reply(true, nil)
			go h.run(c, string(r.Payload[4:]))
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

func (h *Host) run(c ssh.Channel, line string) {
	defer c.Close()
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Env = append(os.Environ(), h.Env...)
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

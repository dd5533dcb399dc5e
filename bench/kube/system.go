// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const hostnameKey = "external-dns.alpha.kubernetes.io/hostname"

// system is something that follows the cluster and says what a name is answered with.
type system struct {
	name    string
	world   string // pods or status
	note    string // how it is configured
	binary  string
	start   func(ctx context.Context, s *system, kubeconfig, dir string) (*process, answerer, error)
	changes int           // of a measurement; 0: the flag's
	pace    time.Duration // between two changes; 0: the flag's
}

// answerer gives the addresses of Service i; an error: there are none to be had yet.
type answerer func(i int) ([]netip.Addr, error)

// process is a running system.
type process struct {
	cmd   *exec.Cmd
	began time.Time
	admin string // its metrics; empty: not asked
	also  io.Closer
	log   string
	ended chan struct{}
}

func launch(ctx context.Context, dir, binary string, args ...string) (*process, error) {
	p := &process{began: time.Now(), log: filepath.Join(dir, filepath.Base(binary)+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, binary, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	p.ended = make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // why is in its log
		close(p.ended)
	}()
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	<-p.ended
	if p.also != nil {
		_ = p.also.Close()
	}
}

// usage returns the CPU seconds that the process has taken and its resident memory in bytes.
func (p *process) usage() (cpu float64, rss int64, err error) {
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return 0, 0, fmt.Errorf("reading what the process uses: %w", err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	kernel, err2 := strconv.ParseFloat(fields[12], 64)
	pages, err3 := strconv.ParseInt(fields[21], 10, 64)
	return (user + kernel) / 100, pages * int64(os.Getpagesize()), errors.Join(err, err2, err3)
}

// freePort returns a port of ::1 that neither UDP nor TCP uses.
func freePort() (string, error) {
	for {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			return "", err
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err != nil {
			continue // that port is taken for UDP
		}
		u.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		return port, err
	}
}

// ask is an answerer over UDP.
func ask(server string, name func(i int) string) (answerer, error) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return nil, err
	}
	c := &dns.Conn{Conn: conn, UDPSize: 4096}
	var id uint16
	return func(i int) ([]netip.Addr, error) {
		id++
		m := new(dns.Msg)
		m.SetQuestion(name(i), dns.TypeAAAA)
		m.SetEdns0(4096, false)
		m.Id = id
		if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
		if err := c.WriteMsg(m); err != nil {
			return nil, err
		}
		for {
			r, err := c.ReadMsg()
			if err != nil {
				return nil, err
			}
			if r.Id != id {
				continue
			}
			if r.Rcode != dns.RcodeSuccess {
				return nil, fmt.Errorf("answered %s", dns.RcodeToString[r.Rcode])
			}
			var addresses []netip.Addr
			for _, rr := range r.Answer {
				if aaaa, ok := rr.(*dns.AAAA); ok {
					if a, ok := netip.AddrFromSlice(aaaa.AAAA); ok {
						addresses = append(addresses, a)
					}
				}
			}
			return addresses, nil
		}
	}, nil
}

// startDNSIngress takes more keys of the configuration's section kubernetes.
func startDNSIngress(more string) func(ctx context.Context, s *system, kubeconfig, dir string) (*process, answerer, error) {
	return func(ctx context.Context, s *system, kubeconfig, dir string) (*process, answerer, error) {
		port, err := freePort()
		if err != nil {
			return nil, nil, err
		}
		admin, err := freePort()
		if err != nil {
			return nil, nil, err
		}
		config := filepath.Join(dir, "dnsingress.yaml")
		if err := os.WriteFile(config, fmt.Appendf(nil, `zones: [{origin: %s, maxAnswers: 0, nameservers: [{name: ns.%[1]s, addresses: ["::1"]}]}]
listen: ["[::1]:%s"]
admin: "[::1]:%s"
lameDuck: 0s
kubernetes: {kubeconfig: %q%s}
`, domain, port, admin, kubeconfig, more), 0o600); err != nil {
			return nil, nil, err
		}
		p, err := launch(ctx, dir, s.binary, "run", "--config", config, "--log-level", "warn")
		if err != nil {
			return nil, nil, err
		}
		p.admin = "[::1]:" + admin
		a, err := ask("[::1]:"+port, hostName)
		return p, a, err
	}
}

func startCoreDNS(plugin string, name func(i int) string) func(ctx context.Context, s *system, kubeconfig, dir string) (*process, answerer, error) {
	return func(ctx context.Context, s *system, kubeconfig, dir string) (*process, answerer, error) {
		port, err := freePort()
		if err != nil {
			return nil, nil, err
		}
		corefile := filepath.Join(dir, "Corefile")
		if err := os.WriteFile(corefile, fmt.Appendf(nil, ".:%s {\n  bind ::1\n  %s\n}\n", port, fmt.Sprintf(plugin, kubeconfig)), 0o600); err != nil {
			return nil, nil, err
		}
		p, err := launch(ctx, dir, s.binary, "-conf", corefile)
		if err != nil {
			return nil, nil, err
		}
		a, err := ask("[::1]:"+port, name)
		return p, a, err
	}
}

func startExternalDNS(args ...string) func(ctx context.Context, s *system, kubeconfig, dir string) (*process, answerer, error) {
	return func(ctx context.Context, s *system, kubeconfig, dir string) (*process, answerer, error) {
		provider, err := newProvider()
		if err != nil {
			return nil, nil, err
		}
		metrics, err := freePort()
		if err != nil {
			return nil, nil, err
		}
		p, err := launch(ctx, dir, s.binary, append([]string{
			"--source=service", "--kubeconfig=" + kubeconfig, "--provider=webhook", "--webhook-provider-url=" + provider.url(),
			"--registry=noop", "--policy=sync", "--managed-record-types=AAAA", "--metrics-address=[::1]:" + metrics,
			"--log-level=warning",
		}, args...)...)
		if err != nil {
			return nil, nil, err
		}
		p.also = provider
		return p, provider.addresses, nil
	}
}

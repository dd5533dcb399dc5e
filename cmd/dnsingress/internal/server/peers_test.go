// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"fmt"
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
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// allow is how long these tests wait for what must come. It is no measure of speed.
const allow = time.Minute

// peer is another authoritative server, as a secondary: how it is configured and started in the foreground. Of its
// configuration, PORT (its own), PRIMARY (ours), PRIMARYPORT and DIR are replaced.
type peer struct {
	name, program string
	args          []string
	config        string
}

func peers() []peer {
	return []peer{
		{"Knot DNS", "knotd", []string{"-c", "DIR/conf"}, `server:
    rundir: "DIR"
    listen: 127.0.0.1@PORT
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: "DIR"
remote:
  - id: primary
    address: PRIMARY@PRIMARYPORT
acl:
  - id: notify
    address: PRIMARY
    action: notify
zone:
  - domain: example.org
    storage: "DIR"
    master: primary
    acl: notify
    zonefile-sync: -1
    semantic-checks: off
`},
		{"NSD", "nsd", []string{"-d", "-c", "DIR/conf"}, `server:
    server-count: 1
    ip-address: 127.0.0.1@PORT
    username: ""
    chroot: ""
    zonesdir: "DIR"
    database: ""
    xfrdfile: "DIR/xfrd.state"
    xfrdir: "DIR"
    zonelistfile: "DIR/zone.list"
    pidfile: "DIR/pid"
    minimal-responses: yes
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    xfrd-reload-timeout: 0
remote-control:
    control-enable: no
zone:
    name: example.org
    zonefile: "DIR/zone"
    request-xfr: PRIMARY@PRIMARYPORT NOKEY
    allow-notify: PRIMARY NOKEY
`},
		{"BIND", "named", []string{"-g", "-c", "DIR/conf"}, `options {
    directory "DIR"; pid-file "DIR/pid"; session-keyfile "DIR/session.key";
    listen-on port PORT { 127.0.0.1; }; listen-on-v6 { none; };
    recursion no; minimal-responses yes; minimal-any yes; dnssec-validation no; notify no;
    check-names secondary ignore;
};
controls { };
zone "example.org" { type secondary; primaries { PRIMARY port PRIMARYPORT; }; file "DIR/zone"; };
`},
	}
}

// freePort is one of 127.0.0.1 that nobody uses, for UDP and TCP.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		pc, err := net.ListenPacket("udp", at.String())
		l.Close()
		if err == nil {
			pc.Close()
			return at
		}
	}
}

// start runs the peer until the test ends, with more replacements in its configuration, and returns what makes it read
// its files again.
func (p peer) start(t *testing.T, path string, at netip.AddrPort, primary netip.AddrPort, more ...string) (reload func()) {
	t.Helper()
	dir := t.TempDir()
	fill := strings.NewReplacer(append(more, "PRIMARYPORT", fmt.Sprint(primary.Port()), "PRIMARY", primary.Addr().String(), "PORT", fmt.Sprint(at.Port()), "DIR", dir)...)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(fill.Replace(p.config)), 0o644); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range p.args {
		args = append(args, fill.Replace(a))
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if t.Failed() {
			t.Logf("%s: %s", p.name, log.String())
		}
	})
	return func() {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Error(err)
		}
	}
}

// reaches waits until the peer has a serial of the zone.
func (p peer) reaches(t *testing.T, at netip.AddrPort, serial uint32) {
	t.Helper()
	c := &dns.Client{Timeout: time.Second}
	for end := time.Now().Add(allow); ; time.Sleep(20 * time.Millisecond) {
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA), at.String())
		if err == nil && len(m.Answer) == 1 && m.Answer[0].(*dns.SOA).Serial == serial {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not get serial %d: %v %v", p.name, serial, m, err)
		}
	}
}

// serve runs our own server on a free port until the test ends.
func serve(t *testing.T, catalog *zone.Catalog, o transfer.Options) netip.AddrPort {
	t.Helper()
	o.Catalog, o.Log = catalog, slog.New(slog.DiscardHandler)
	transfers, err := transfer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Config{Listen: []string{"127.0.0.1:0"}, Catalog: catalog, Transfer: transfers, Workers: 1})
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, part := range []func(context.Context) error{s.Run, transfers.Run} {
		all.Go(func() {
			if err := part(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		all.Wait()
	})
	<-s.Ready()
	return s.Addrs()[0]
}

func dial(t *testing.T, at netip.AddrPort) *dns.Conn {
	t.Helper()
	conn, err := dns.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.UDPSize = 4096
	return conn
}

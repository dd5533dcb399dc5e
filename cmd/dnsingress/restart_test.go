// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// process is `dnsingress serve` as a process of its own, and those that take its place.
type process struct {
	t        *testing.T
	out, log *sink
	pid      int
	address  string
	metrics  string
}

func startProcess(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath("dnsingress") // which testscript.Main has put there
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, out: new(sink), log: new(sink)}
	c := exec.Command(path, args...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = p.out, p.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = c.Process.Pid
	t.Cleanup(func() {
		_ = syscall.Kill(p.pid, syscall.SIGTERM)
		if err := c.Wait(); err != nil { // also for who holds the pipes: all of them
			t.Errorf("serve: %v\n%v", err, p.log)
		}
	})
	return p
}

// listens waits until an address is open.
func (p *process) listens() {
	p.t.Helper()
	waitFor(p.t, "printed its addresses", func() bool {
		m := regexp.MustCompile(`(?m)^listening on (\S+) \(UDP and TCP\)$`).FindStringSubmatch(p.out.String())
		n := regexp.MustCompile(`(?m)^metrics on (\S+)$`).FindStringSubmatch(p.out.String())
		if m == nil || n == nil {
			return false
		}
		p.address, p.metrics = m[1], n[1]
		return true
	})
}

var replaced = regexp.MustCompile(`replaced by a new process" pid=(\d+)`)

// restart has a new process take the place of the one there is, and waits until that has ended.
func (p *process) restart() {
	p.t.Helper()
	before := len(replaced.FindAllString(p.log.String(), -1))
	if err := syscall.Kill(p.pid, syscall.SIGUSR2); err != nil {
		p.t.Fatal(err)
	}
	old := p.pid
	waitFor(p.t, "replaced", func() bool {
		all := replaced.FindAllStringSubmatch(p.log.String(), -1)
		if len(all) == before {
			return false
		}
		p.pid, _ = strconv.Atoi(all[before][1])
		return true
	})
	waitFor(p.t, "ended", func() bool { return ended(old) })
}

// ended tells whether a process is gone, or is left for its parent to look at.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z")
}

// TestRestartLosesNothing asks without a pause, over UDP and TCP, while two processes in a row take the place of the
// first, and is answered every time.
func TestRestartLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(path, []byte(zoneText(1, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("file", func(t *testing.T) {
		losesNothing(t, "--zone-file", path)
	})
	t.Run("primary", func(t *testing.T) { // what a new process has only once it has asked for it
		primary, _ := startServe(t, new(sink), "--zone-file", path, "--allow-transfer", "::1/128")
		losesNothing(t, "--secondary", "example.org="+primary)
	})
}

func losesNothing(t *testing.T, zone ...string) {
	p := startProcess(t, nil, append([]string{"serve", "--listen", "[::1]:0", "--metrics", "[::1]:0"}, zone...)...)
	p.listens()
	waitFor(t, "had the zone", func() bool {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA), p.address)
		return err == nil && len(m.Answer) == 1
	})

	var stop atomic.Bool
	var clients sync.WaitGroup
	var asked [3]atomic.Int64
	ask := func(kind int, c net.Conn) bool {
		conn := &dns.Conn{Conn: c, UDPSize: 1232}
		_ = c.SetDeadline(time.Now().Add(servePatience))
		m := new(dns.Msg).SetQuestion("ns1.example.org.", dns.TypeAAAA)
		if err := conn.WriteMsg(m); err != nil {
			t.Errorf("asking over %s: %v", c.RemoteAddr().Network(), err)
			return false
		}
		r, err := conn.ReadMsg()
		if err != nil || r.Id != m.Id || len(r.Answer) != 1 {
			t.Errorf("lost over %s, question %d: %v, %v", c.RemoteAddr().Network(), asked[kind].Load(), err, r)
			return false
		}
		asked[kind].Add(1)
		return true
	}
	// UDP and TCP from one socket for many questions, and TCP with a connection for each.
	for kind, c := range []struct {
		network string
		each    int
	}{{"udp", 50}, {"tcp", 50}, {"tcp", 1}} {
		for range 2 {
			clients.Go(func() {
				for !stop.Load() && !t.Failed() {
					conn, err := net.Dial(c.network, p.address)
					if err != nil {
						t.Errorf("connecting over %s: %v", c.network, err)
						return
					}
					for range c.each {
						if !ask(kind, conn) {
							break
						}
					}
					conn.Close()
				}
			})
		}
	}
	more := func() { // every client has asked some more
		t.Helper()
		var from [3]int64
		for i := range asked {
			from[i] = asked[i].Load()
		}
		waitFor(t, "asked by all clients", func() bool {
			for i := range asked {
				if asked[i].Load() < from[i]+100 && !t.Failed() {
					return false
				}
			}
			return true
		})
	}
	more()
	for range 2 {
		p.restart()
		more()
	}
	// The address for metrics went along.
	if text, err := get(p.metrics); err != nil || !strings.Contains(text, "dnsingress_dns_requests_total") {
		t.Errorf("metrics: %v", err)
	}
	stop.Store(true)
	clients.Wait()
	if t.Failed() {
		t.Log(p.log)
	}
	t.Logf("answered: %d over UDP, %d over lasting and %d over short TCP connections", asked[0].Load(), asked[1].Load(), asked[2].Load())
}

// TestRestartThatFails breaks the zone file: the new process ends, says why, and the old one goes on.
func TestRestartThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(path, []byte(zoneText(1, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, nil, "serve", "--zone-file", path, "--listen", "[::1]:0", "--metrics", "[::1]:0")
	p.listens()
	if err := os.WriteFile(path, []byte(zoneText(2, "a A nonsense\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "said that it goes on", func() bool { return strings.Contains(p.log.String(), "this process goes on") })
	if !strings.Contains(p.log.String(), "zone:6:") {
		t.Errorf("nothing of why: %v", p.log)
	}
	if got := serial(t, p.address); got != 1 {
		t.Errorf("serial %d", got)
	}
	// And a later one succeeds.
	if err := os.WriteFile(path, []byte(zoneText(3, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	p.restart()
	if got := serial(t, p.address); got != 3 {
		t.Errorf("serial %d after all", got)
	}
}

// TestSocketActivation gives the process sockets as systemd does, on an address that it could not open itself.
func TestSocketActivation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(path, []byte(zoneText(1, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	tcp, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := u.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	state := filepath.Join(t.TempDir(), "notify")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: state, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	dnsingress, err := exec.LookPath("dnsingress")
	if err != nil {
		t.Fatal(err)
	}
	// LISTEN_PID is the process's own: the shell sets it and becomes the program.
	c := exec.Command("sh", "-c", `export LISTEN_PID=$$ LISTEN_FDS=2; exec "$0" "$@"`, dnsingress, "serve", "--zone-file", path, "--listen", l.Addr().String())
	c.Env = append(os.Environ(), "NOTIFY_SOCKET="+state)
	c.ExtraFiles = []*os.File{tcp, udp}
	log := new(bytes.Buffer)
	c.Stderr = log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Errorf("%v\n%s", err, log)
		}
	}()
	_ = told.SetReadDeadline(time.Now().Add(servePatience))
	buf := make([]byte, 256)
	n, err := told.Read(buf)
	if want := fmt.Sprintf("READY=1\nMAINPID=%d", c.Process.Pid); err != nil || string(buf[:n]) != want {
		t.Fatalf("told %q, %v, want %q", buf[:n], err, want)
	}
	for _, network := range []string{"udp", "tcp"} {
		m, _, err := (&dns.Client{Net: network, Timeout: servePatience}).Exchange(new(dns.Msg).SetQuestion("ns1.example.org.", dns.TypeAAAA), l.Addr().String())
		if err != nil || len(m.Answer) != 1 {
			t.Errorf("%s: %v, %v", network, err, m)
		}
	}
}

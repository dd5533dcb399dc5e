// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// well asks over UDP and TCP and wants to be answered.
func well(t *testing.T, s *running) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, s.Addrs()[0])
		send(t, c, pack(t, ask("www.example.org.", dns.TypeA)))
		if got := describe(t, receive(t, c)); got != "NOERROR aa q=1 an=1" {
			t.Errorf("%s: %s", network, got)
		}
		c.Close()
	}
}

// idleMost is how many connections TestTenThousandIdle opens, in a process of its own: one may not have as many files
// as both ends need.
const idleMost = 10_000

// envHold makes this program a client that opens idleMost connections to an address.
const envHold = "DNSINGRESS_TEST_HOLD"

// TestTenThousandIdle has ten thousand connections that ask nothing. A server with room for them has them all, one with
// the default limits has as many as it may, and both answer who comes then.
func TestTenThousandIdle(t *testing.T) {
	if to := os.Getenv(envHold); to != "" {
		holdIdle(t, to)
		return
	}
	const n = idleMost
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < n+500 { // Go has raised the soft limit to the hard one
		if os.Getenv("CI") == "true" {
			t.Fatalf("%d open files are too few for %d connections", limit.Max, n)
		}
		t.Skipf("NOT TESTED: %d open files are too few for %d connections (hint: ulimit -Hn 65536)", limit.Max, n)
	}
	for _, c := range []struct {
		name   string
		limits Limits
		held   int
		oldest string
	}{
		{"room for all", Limits{Connections: n + 100, PerClient: n, Idle: 2 * patience, Pressed: 2 * patience}, n, "answered"},
		{"default limits", Limits{PerClient: n, Idle: 2 * patience, Pressed: 2 * patience}, 4096, "closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, Config{Listen: []string{"127.0.0.1:0"}, TCP: c.limits})
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			client := exec.Command(os.Args[0], "-test.run=^TestTenThousandIdle$", "-test.v")
			client.Env = append(os.Environ(), envHold+"="+s.Addrs()[0].String())
			client.Stderr = os.Stderr
			in, err := client.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			pipe, err := client.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				in.Close()
				if err := client.Wait(); err != nil {
					t.Error(err)
				}
			}()
			out := bufio.NewScanner(pipe)
			hear := func(want string) {
				t.Helper()
				for out.Scan() {
					if strings.HasPrefix(out.Text(), want) {
						return
					}
				}
				t.Fatalf("the client never said %q", want)
			}
			hear("open")
			awaitMetrics(t, s, fmt.Sprintf(`dnsingress_dns_tcp_connections %d`, c.held), fmt.Sprintf(`dnsingress_dns_tcp_closed_total{limit="connections"} %d`, n-c.held))
			runtime.GC()
			runtime.ReadMemStats(&after)
			t.Logf("%d octets a connection", int(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/c.held)
			well(t, s)
			fmt.Fprintln(in, "ask")
			hear("newest answered")
			hear("oldest " + c.oldest)
		})
	}
}

// holdIdle opens connections, asks on the last and on the first when it is told to, and ends with its input.
func holdIdle(t *testing.T, to string) {
	conns := make([]net.Conn, idleMost)
	for i := range conns {
		// From several addresses, for one has few ports.
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/2500))}
		c, err := (&net.Dialer{LocalAddr: from, Timeout: patience}).Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).SetLinger(0) // leaves no port behind that waits
		defer c.Close()
		conns[i] = c
	}
	fmt.Println("open")
	told := bufio.NewScanner(os.Stdin)
	for told.Scan() {
		fmt.Println("newest", asked(t, conns[idleMost-1]))
		fmt.Println("oldest", asked(t, conns[0]))
	}
}

func asked(t *testing.T, c net.Conn) string {
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write(framed(pack(t, ask("www.example.org.", dns.TypeA)))) // fails where it is closed, as reading will
	if _, err := c.Read(make([]byte, 512)); err != nil {
		return "closed"
	}
	return "answered"
}

// TestIdleGiveWay has more come than there is room for: those that have asked nothing for the longest go.
func TestIdleGiveWay(t *testing.T) {
	s := start(t, Config{TCP: Limits{Connections: 4, Idle: time.Minute, Pressed: time.Minute}})
	query := pack(t, ask("www.example.org.", dns.TypeA))
	var conns []net.Conn
	for range 4 {
		c := dial(t, "tcp", s.Addrs()[0])
		send(t, c, query)
		receive(t, c)
		awaitRest(t, s, c)
		conns = append(conns, c)
	}
	send(t, conns[0], query) // no longer the oldest
	receive(t, conns[0])
	awaitRest(t, s, conns[0])
	well(t, s) // takes the place of conns[1], and gives it back
	closed(t, conns[1])
	for _, i := range []int{0, 2, 3} {
		send(t, conns[i], query)
		receive(t, conns[i])
	}
	awaitMetrics(t, s, `dnsingress_dns_tcp_closed_total{limit="connections"} 1`)
}

// awaitRest waits until a connection is the one that has begun to be idle last: its reply comes before that.
func awaitRest(t *testing.T, s *running, c net.Conn) {
	t.Helper()
	want := c.LocalAddr().String()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.conns.mu.Lock()
		last := s.conns.idle.Back()
		s.conns.mu.Unlock()
		if last != nil && last.Value.(*stream).tcp.RemoteAddr().String() == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not rest", want)
		}
	}
}

// TestMemoryIsBounded has clients announce long messages and send little of them. Their buffers are bounded, and others
// are answered meanwhile.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const budget = 1 << 20
	s := start(t, Config{TCP: Limits{Memory: budget, Idle: time.Minute}})
	for range 40 {
		c := dial(t, "tcp", s.Addrs()[0])
		if _, err := c.Write([]byte{0xFF, 0xFF, 1}); err != nil {
			t.Fatal(err)
		}
	}
	fits := (budget - 2*(lengthLen+maxMessage)) / (lengthLen + maxMessage - firstRoom) // beside one that is answered
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		n := s.conns.numbers()
		if n.held > budget {
			t.Fatalf("%d octets held", n.held)
		}
		if n.open+int(n.memory) == 40 && n.memory > 0 {
			if n.open < fits {
				t.Errorf("%d connections are open, %d would fit", n.open, fits)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", n)
		}
	}
	c := dial(t, "udp", s.Addrs()[0])
	send(t, c, pack(t, ask("www.example.org.", dns.TypeA)))
	receive(t, c)
}

// TestBuffersAreGivenBack sends long messages, and checks that nothing is held when they are answered.
func TestBuffersAreGivenBack(t *testing.T) {
	s := start(t, Config{TLS: newPair(t).config()})
	for _, network := range []string{"tcp", "tls"} {
		to := s.Addrs()[0]
		if network == "tls" {
			to = s.TLSAddrs()[0]
		}
		c := dial(t, network, to)
		for range 3 {
			send(t, c, append(pack(t, ask("www.example.org.", dns.TypeA)), make([]byte, 30000)...))
			if got := describe(t, receive(t, c)); got != "FORMERR q=1" {
				t.Error(got)
			}
		}
		c.Close()
	}
	awaitMetrics(t, s, `dnsingress_dns_tcp_buffer_bytes 0`, `dnsingress_dns_tcp_connections 0`)
}

// TestSlowReader asks for much and reads nothing: the connection is closed, and nobody else waits.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
	if err := c.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	query := framed(pack(t, ask("many.example.org.", dns.TypeAAAA)))
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	go func() {
		for {
			if _, err := c.Write(query); err != nil {
				return
			}
		}
	}()
	for s.conns.numbers().accepted == 0 {
		time.Sleep(time.Millisecond)
	}
	well(t, s)
	awaitMetrics(t, s, `dnsingress_dns_tcp_connections 0`)
}

// TestClientsAreNetworks checks by what connections are counted: an IPv6 client has all of its /64.
func TestClientsAreNetworks(t *testing.T) {
	for a, want := range map[string]string{"2001:db8::1:2:3:4": "2001:db8::", "192.0.2.7": "192.0.2.7", "fe80::1": "fe80::"} {
		if got := client(netip.MustParseAddr(a)); got != netip.MustParseAddr(want) {
			t.Errorf("%s counts as %s", a, got)
		}
	}
}

// TestHostileMessages sends a hundred thousand messages that were queries once, over UDP and TCP. Every one that is
// answered is answered with something that can be read; nothing is said of it, and the server serves on.
func TestHostileMessages(t *testing.T) {
	log := new(syncLog)
	s := start(t, Config{Log: slog.New(slog.NewTextHandler(log, nil)), Transfer: handlerFunc(func(_ context.Context, x *Exchange) { _ = x.Reply(x.Answer(x.Query, x.Limit)) })})
	loops := [][]byte{
		question("\xc0\x0c")(), question("\x01a\xc0\x0c")(), question("\xc0\xff")(), question("\xff\xff")(),
		append(question("\x00")(), "\xc0\x1c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00"...), []byte("\x00\x00"),
		{},
	}
	seeds := loops
	for _, b := range behaviours {
		seeds = append(seeds, b.query())
	}
	var all sync.WaitGroup
	for worker := range uint64(4) {
		random := rand.New(rand.NewPCG(worker, 1))
		udp, tcp := dial(t, "udp", s.Addrs()[0]), dial(t, "tcp", s.Addrs()[0])
		all.Go(func() { // replies over TCP are read, or it would end
			buf := make([]byte, 1<<16)
			for {
				if _, err := tcp.Read(buf); err != nil {
					return
				}
			}
		})
		all.Go(func() {
			defer tcp.Close()
			reply := make([]byte, maxMessage)
			for range 25_000 {
				m := append([]byte(nil), seeds[random.IntN(len(seeds))]...)
				for range random.IntN(4) {
					if len(m) > 0 {
						m[random.IntN(len(m))] = byte(random.Uint32())
					}
				}
				m = m[:len(m)-random.IntN(1+len(m)/4)]
				if _, err := udp.Write(m); err != nil {
					t.Error(err)
					return
				}
				if _, err := tcp.Write(framed(m)); err != nil {
					t.Error(err)
					return
				}
				_ = udp.SetReadDeadline(time.Now().Add(-1))
				for {
					n, err := udp.Read(reply)
					if errors.Is(err, os.ErrDeadlineExceeded) {
						break
					}
					if err != nil {
						t.Error(err)
						return
					}
					if err := new(dns.Msg).Unpack(reply[:n]); err != nil {
						t.Errorf("%v: % x", err, reply[:n])
					}
				}
			}
		})
	}
	all.Wait()
	well(t, s)
	if text := log.String(); strings.Count(text, "\n") > 1 || strings.Contains(text, "panic") { // one says that it answers
		t.Errorf("said %q", text)
	}
	awaitMetrics(t, s, `dnsingress_panics_total 0`)
}

// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/common/expfmt"
)

// scrape returns the server's metrics as lines of text.
func scrape(t testing.TB, s *running) []string {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Split(b.String(), "\n")
}

// framed gives messages as they follow one another over TCP.
func framed(msgs ...[]byte) []byte {
	var b []byte
	for _, m := range msgs {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(m))), m...)
	}
	return b
}

func TestTCPPipelining(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
	const n = 5000 // replies of 14 MB: far more than any buffer, so reading and writing must go together
	many, small := ask("many.example.org.", dns.TypeAAAA), ask("www.example.org.", dns.TypeA)
	go func() {
		for i := range n {
			m := small
			if i%2 == 0 {
				m = many
			}
			m.Id = uint16(i)
			wire, _ := m.Pack()
			if _, err := c.Write(framed(wire)); err != nil {
				return
			}
		}
		c.CloseWrite()
	}()
	for i := range n {
		m := unpack(t, receive(t, c))
		if want := []int{100, 1}[i%2]; int(m.Id) != i || len(m.Answer) != want {
			t.Fatalf("reply %d has ID %d and %d answers", i, m.Id, len(m.Answer))
		}
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the last reply: %v", err)
	}
}

func TestTCPOctetByOctet(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
	for _, b := range framed(pack(t, ask("www.example.org.", dns.TypeA)), pack(t, ask("nx.example.org.", dns.TypeA))) {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"NOERROR aa q=1 an=1", "NXDOMAIN aa q=1 ns=1"} {
		if got := describe(t, receive(t, c)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestTCPLongestMessage sends a query of 65535 octets: the question and an OPT with much padding.
func TestTCPLongestMessage(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0])
	m := ask("www.example.org.", dns.TypeA)
	m.SetEdns0(1232, false)
	padding := &dns.EDNS0_PADDING{}
	m.IsEdns0().Option = []dns.EDNS0{padding}
	padding.Padding = make([]byte, maxMessage-len(pack(t, m)))
	send(t, c, pack(t, m))
	if got := describe(t, receive(t, c)); got != "NOERROR aa q=1 an=1 edns=0/1232" {
		t.Error(got)
	}
}

// closed waits for the server to close a connection.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still open: %d octets, %v", n, err)
	}
}

// TestTCPIdle checks that a connection that asks nothing, and one that never ends its question, are closed.
func TestTCPIdle(t *testing.T) {
	t.Parallel()
	s := start(t, Config{TCP: Limits{Idle: 2 * time.Second}})
	idle := dial(t, "tcp", s.Addrs()[0])
	slow := dial(t, "tcp", s.Addrs()[0])
	query := framed(pack(t, ask("www.example.org.", dns.TypeA)))
	go func() {
		for _, b := range query { // never idle for long, and done only after 15 s
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(500 * time.Millisecond)
		}
	}()
	busy := dial(t, "tcp", s.Addrs()[0])
	for range 50 { // for longer than the limit, but each question comes within it
		send(t, busy, query[2:])
		receive(t, busy)
		time.Sleep(50 * time.Millisecond)
	}
	closed(t, idle)
	closed(t, slow)
}

// TestTCPLimits checks that connections beyond a limit are closed, and that a place comes free again.
func TestTCPLimits(t *testing.T) {
	s := start(t, Config{TCP: Limits{PerClient: 2, Connections: 3}})
	query := pack(t, ask("www.example.org.", dns.TypeA))
	var open []net.Conn
	for range 2 {
		c := dial(t, "tcp", s.Addrs()[0])
		send(t, c, query)
		receive(t, c)
		open = append(open, c)
	}
	closed(t, dial(t, "tcp", s.Addrs()[0]))
	open[0].Close()
	for end := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(end)
		c.Write(framed(query))
		n, _ := c.Read(make([]byte, 1))
		c.Close()
		if n == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the place of a closed connection never came free")
		}
	}
}

// TestTCPManyIdle opens a thousand connections that ask nothing, and is answered on the next and over UDP.
func TestTCPManyIdle(t *testing.T) {
	s := start(t, Config{TCP: Limits{PerClient: 2000}})
	for range 1000 {
		dial(t, "tcp", s.Addrs()[0])
	}
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, s.Addrs()[0])
		send(t, c, pack(t, ask("www.example.org.", dns.TypeA)))
		if got := describe(t, receive(t, c)); got != "NOERROR aa q=1 an=1" {
			t.Errorf("%s: %s", network, got)
		}
	}
}

// TestTCPNothingOnResponse checks that a response sent to us over TCP is not answered and not fatal.
func TestTCPNothingOnResponse(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
	response := pack(t, ask("www.example.org.", dns.TypeA))
	response[2] |= 0x80
	query := pack(t, ask("www.example.org.", dns.TypeA))
	query[0], query[1] = 0xAB, 0xCD
	if _, err := c.Write(framed(response, nil, []byte{1}, query)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); got[0] != 0xAB || got[1] != 0xCD {
		t.Errorf("got % x", got[:2])
	}
}

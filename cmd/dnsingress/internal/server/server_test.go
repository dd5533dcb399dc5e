// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// patience is how long a test waits for what must come. It is no measure of speed.
const patience = 30 * time.Second

func compile(t testing.TB, text string) *zone.Zone {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	var rrs []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rrs = append(rrs, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	z, err := zone.New(rrs[0].Header().Name, rrs)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// exampleZone has a small name, one of a hundred addresses, and one whose answer is long.
func exampleZone(t testing.TB) *zone.Zone {
	var b strings.Builder
	b.WriteString(`example.org. 300 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60
example.org. 300 IN NS ns1.example.org.
ns1.example.org. 300 IN AAAA 2001:db8::1
www.example.org. 300 IN AAAA 2001:db8::80
www.example.org. 300 IN A 192.0.2.80
`)
	for i := range 100 {
		fmt.Fprintf(&b, "many.example.org. 300 IN AAAA 2001:db8::%x\n", i+1)
	}
	for i := range 16 {
		fmt.Fprintf(&b, "some.example.org. 300 IN AAAA 2001:db8::%x\n", i+1)
	}
	return compile(t, b.String())
}

func exampleCatalog(t testing.TB) *zone.Catalog {
	c := new(zone.Catalog)
	c.Publish(exampleZone(t))
	return c
}

type running struct {
	*Server
	registry *prometheus.Registry
	stop     context.CancelFunc
	done     chan error
}

// start runs a server for exampleZone.
func start(t testing.TB, c Config) *running {
	t.Helper()
	if c.Catalog == nil {
		c.Catalog = exampleCatalog(t)
	}
	if c.Listen == nil {
		c.Listen = []string{"[::1]:0"}
	}
	r := &running{registry: prometheus.NewRegistry(), done: make(chan error, 1)}
	c.Registerer = r.registry
	r.Server = New(c)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.done <- r.Run(ctx) }()
	select {
	case <-r.Ready():
	case err := <-r.done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		r.done <- nil
	})
	return r
}

func dial(t testing.TB, network string, to netip.AddrPort) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	if network == "tls" {
		c, err = tls.Dial("tcp", to.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}})
	} else {
		c, err = net.Dial(network, to.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// send writes one message, with its length over TCP.
func send(t testing.TB, c net.Conn, msg []byte) {
	t.Helper()
	if c.LocalAddr().Network() == "tcp" {
		msg = append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	}
	if _, err := c.Write(msg); err != nil {
		t.Fatal(err)
	}
}

// receive reads one message.
func receive(t testing.TB, c net.Conn) []byte {
	t.Helper()
	buf := make([]byte, maxMessage)
	if c.LocalAddr().Network() == "tcp" {
		if _, err := io.ReadFull(c, buf[:2]); err != nil {
			t.Fatal(err)
		}
		msg := make([]byte, binary.BigEndian.Uint16(buf))
		if _, err := io.ReadFull(c, msg); err != nil {
			t.Fatal(err)
		}
		return msg
	}
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func unpack(t testing.TB, wire []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("%v: % x", err, wire)
	}
	return m
}

func ask(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.RecursionDesired = false
	return m
}

// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a server is made of. Listen and Catalog are required.
type Config struct {
	// Listen are the addresses for UDP and TCP, as "[::]:53" (which takes IPv4 as well), "192.0.2.1:53" or
	// "[::1]:0" (any free port).
	Listen     []string
	Catalog    *zone.Catalog
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger          // nil: no log
	TCP        Limits
	// Workers is the number of UDP sockets an address; 0: one a core that the process may use.
	Workers int
}

// Server answers DNS queries.
type Server struct {
	config    Config
	collector *collector
	panics    *panics
	cookies   *cookies
	conns     *connections
	ready     chan struct{}
	addrs     []netip.AddrPort // set before ready is closed
}

// New returns a server that Run starts. It opens nothing.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	c.TCP = c.TCP.orDefaults()
	s := &Server{config: c, cookies: newCookies(), conns: newConnections(c.TCP), ready: make(chan struct{})}
	s.panics = &panics{log: c.Log}
	s.collector = &collector{catalog: c.Catalog, panics: s.panics, tcp: s.conns}
	return s
}

// Ready is closed when every address is open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs returns the addresses that are open, in the order of Config.Listen. It is empty before Ready.
func (s *Server) Addrs() []netip.AddrPort {
	select {
	case <-s.ready:
		return s.addrs
	default:
		return nil
	}
}

// sockets are the open sockets of all addresses.
type sockets struct {
	udp []*net.UDPConn
	tcp []*net.TCPListener
}

func (o *sockets) close() {
	for _, c := range o.udp {
		c.Close()
	}
	for _, l := range o.tcp {
		l.Close()
	}
}

// Run opens the addresses and answers until ctx ends, then what has arrived by then, and returns nil. An
// address that cannot be opened or a socket that breaks ends it with an error.
func (s *Server) Run(ctx context.Context) error {
	open, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer open.close()
	if r := s.config.Registerer; r != nil {
		if err := r.Register(s.collector); err != nil {
			return fmt.Errorf("registering the DNS metrics: %w", err)
		}
		defer r.Unregister(s.collector)
	}
	serving, broken := context.WithCancelCause(ctx)
	defer broken(nil)
	var all sync.WaitGroup
	for _, conn := range open.udp {
		w, err := newUDPWorker(conn, s.guard(), s.collector.add("udp"))
		if err != nil {
			return err
		}
		all.Go(func() {
			if err := w.run(); err != nil {
				broken(err)
			}
		})
	}
	tally := s.collector.add("tcp")
	workers := &sync.Pool{New: func() any { return &tcpWorker{serve: s.guard()} }}
	for _, l := range open.tcp {
		t := &tcpServer{listener: l, conns: s.conns, workers: workers, tally: tally, log: s.config.Log}
		all.Go(func() { t.run(serving) })
	}
	close(s.ready)
	s.config.Log.Info("answering DNS", "addresses", s.addrs)
	<-serving.Done()
	for _, conn := range open.udp {
		_ = conn.SetReadDeadline(time.Now()) // wakes the worker, which drains the socket
	}
	for _, l := range open.tcp {
		l.Close()
	}
	s.conns.end()
	all.Wait()
	if ctx.Err() == nil {
		return context.Cause(serving)
	}
	return nil
}

// guard returns a responder of its own for one worker.
func (s *Server) guard() *guard {
	r := &Responder{catalog: s.config.Catalog, cookies: s.cookies, idle: uint16(min(s.config.TCP.Idle/(100*time.Millisecond), 0xFFFF))}
	return &guard{Responder: r, panics: s.panics}
}

// open opens all addresses or none.
func (s *Server) open(ctx context.Context) (*sockets, error) {
	open := &sockets{}
	for _, address := range s.config.Listen {
		udp, tcp, err := openBoth(ctx, address, s.config.Workers)
		if err != nil {
			open.close()
			return nil, err
		}
		open.udp = append(open.udp, udp...)
		open.tcp = append(open.tcp, tcp)
		s.addrs = append(s.addrs, tcp.Addr().(*net.TCPAddr).AddrPort())
	}
	return open, nil
}

// openBoth opens an address for TCP and UDP. Where the port is the system's choice it must be free for both.
func openBoth(ctx context.Context, address string, workers int) ([]*net.UDPConn, *net.TCPListener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("listening on %q: %w (hint: \"[::]:53\" or \"192.0.2.1:53\")", address, err)
	}
	family := "" // "[::]" is both
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		family = "4"
	}
	for tries := 0; ; tries++ {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp"+family, address)
		if err != nil {
			return nil, nil, fmt.Errorf("listening on TCP %s: %w", address, err)
		}
		tcp := l.(*net.TCPListener)
		chosen := tcp.Addr().(*net.TCPAddr).Port
		udp, err := listenUDP(ctx, "udp"+family, net.JoinHostPort(host, fmt.Sprint(chosen)), workers)
		if err == nil {
			return udp, tcp, nil
		}
		tcp.Close()
		if port != "0" || tries == 10 {
			return nil, nil, err
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/handover"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a server is made of. Listen and Catalog are required.
type Config struct {
	// Listen are the addresses for UDP and TCP, as "[::]:53" (which takes IPv4 as well), "192.0.2.1:53" or
	// "[::1]:0" (any free port).
	Listen     []string
	TLS        TLS // DNS over TLS; off by default
	Catalog    *zone.Catalog
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger          // nil: no log
	TCP        Limits
	Rate       RateLimit // of replies over UDP; none by default
	Names      Names     // told to who asks; none by default
	QueryLog   QueryLog  // off by default
	Dnstap     Dnstap    // off by default
	// Locations is where clients are at present; nil: nowhere.
	Locations *atomic.Pointer[zone.Locations]
	// Transfer answers transfers, NOTIFY and what is signed with TSIG; nil: transfers are refused, NOTIFY is
	// not implemented, and signatures are not looked at.
	Transfer Handler
	// Forward answers questions for names that are in no zone; nil: they are refused.
	Forward Forwarder
	// When is closed as soon as there is all to answer from; until then queries wait in the sockets. nil: at once.
	When <-chan struct{}
	// Sockets outlive the process; nil: they end with it.
	Sockets *handover.Sockets
	// Workers is the number of UDP sockets an address; 0: one a core that the process may use.
	Workers int
}

// replacedTime is what connections get to end by themselves when another process has taken over: new ones go there,
// so it costs nobody anything.
const replacedTime = 10 * time.Second

// Server answers DNS queries.
type Server struct {
	config    Config
	collector *collector
	panics    *panics
	cookies   *cookies
	conns     *connections
	rates     *limiter
	arrivals  arrivals
	feeds     []*feed
	ready     chan struct{}
	addrs     []netip.AddrPort // set before ready is closed
	tlsAddrs  []netip.AddrPort
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
	s := &Server{config: c, cookies: newCookies(), conns: newConnections(c.TCP), rates: newLimiter(c.Rate), ready: make(chan struct{})}
	s.panics = &panics{log: c.Log}
	s.collector = &collector{catalog: c.Catalog, panics: s.panics, tcp: s.conns}
	return s
}

// Ready is closed when every address is open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs returns the addresses that are open for UDP and TCP, in the order of Config.Listen. It is empty before Ready.
func (s *Server) Addrs() []netip.AddrPort { return s.whenReady(&s.addrs) }

// TLSAddrs returns the addresses that are open for TLS, in the order of Config.TLS.Listen. It is empty before Ready.
func (s *Server) TLSAddrs() []netip.AddrPort { return s.whenReady(&s.tlsAddrs) }

func (s *Server) whenReady(addrs *[]netip.AddrPort) []netip.AddrPort {
	select {
	case <-s.ready:
		return *addrs
	default:
		return nil
	}
}

// Run opens the addresses and answers until ctx ends, then what has arrived by then, and returns nil. Where the cause
// of ctx's end is handover.ErrReplaced, connections get more time to end by themselves. An address that cannot be
// opened or a socket that breaks ends it with an error.
func (s *Server) Run(ctx context.Context) error {
	if err := errors.Join(s.config.Names.Check(), s.config.Dnstap.Check()); err != nil {
		return err
	}
	open, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer open.close()
	if s.config.When != nil {
		select {
		case <-s.config.When:
		case <-ctx.Done():
			return nil
		}
	}
	if r := s.config.Registerer; r != nil {
		if err := r.Register(s.collector); err != nil {
			return fmt.Errorf("registering the DNS metrics: %w", err)
		}
		defer r.Unregister(s.collector)
	}
	defer s.feed(ctx)()
	serving, broken := context.WithCancelCause(ctx)
	defer broken(nil)
	// What is in work when the server ends goes on until the connections are closed.
	working, quit := context.WithCancel(context.WithoutCancel(ctx))
	defer quit()
	var all sync.WaitGroup
	guards := &sync.Pool{New: func() any { return s.guard(false) }}
	for _, conn := range open.udp {
		w, err := newUDPWorker(conn, s.guard(true), s.collector.add(protoUDP))
		if err != nil {
			return err
		}
		w.ctx, w.rates, w.taps = working, s.rates, s.taps()
		w.office = &office{handler: s.config.Transfer, forward: s.config.Forward, guards: guards, panics: s.panics, tally: w.tally}
		all.Go(func() {
			if err := w.run(); err != nil {
				broken(err)
			}
			w.office.all.Wait()
		})
	}
	if err := s.arrivals.watch(open.udp); err != nil {
		return err
	}
	workers := &sync.Pool{New: func() any { return &tcpWorker{serve: s.guard(true)} }}
	for _, l := range open.tcp {
		t := &tcpServer{
			listener: l.TCPListener, tls: l.tls, proto: l.proto, conns: s.conns, workers: workers, guards: guards, handler: s.config.Transfer, forward: s.config.Forward,
			panics: s.panics, tally: s.collector.add(l.proto), taps: s.feeds, log: s.config.Log,
		}
		all.Go(func() { t.run(working) })
	}
	close(s.ready)
	s.config.Log.Info("answering DNS", "addresses", s.addrs, "tls", s.tlsAddrs)
	<-serving.Done()
	for _, conn := range open.udp {
		_ = conn.SetReadDeadline(time.Now()) // wakes the worker, which drains the socket
	}
	for _, l := range open.tcp {
		l.Close()
	}
	within := drainTime
	if errors.Is(context.Cause(ctx), handover.ErrReplaced) {
		within = replacedTime
	}
	s.conns.finish(within)
	defer time.AfterFunc(within, quit).Stop()
	all.Wait()
	if ctx.Err() == nil {
		return context.Cause(serving)
	}
	return nil
}

// guard returns a responder of its own for one worker.
func (s *Server) guard(hands bool) *guard {
	r := &Responder{
		catalog: s.config.Catalog, cookies: s.cookies, names: s.config.Names, hands: hands && s.config.Transfer != nil,
		idle: uint16(min(s.config.TCP.Idle/(100*time.Millisecond), 0xFFFF)), locations: s.config.Locations,
	}
	if hands {
		r.forwards = s.config.Forward
	}
	return &guard{Responder: r, panics: s.panics}
}

// feed starts what writes samples of queries, and returns what ends it.
func (s *Server) feed(ctx context.Context) (end func()) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	if l := s.config.QueryLog; l.Every > 0 {
		f := newFeed("log", l.Every, logSamples)
		s.feeds = append(s.feeds, f)
		all.Go(func() { logQueries(ctx, f, l.PerSecond, s.config.Log) })
	}
	if d := s.config.Dnstap; d.To != "" {
		f := newFeed("dnstap", d.Every, tapSamples)
		s.feeds = append(s.feeds, f)
		all.Go(func() { d.run(ctx, f, s.config.Names, s.config.Log) })
	}
	s.collector.follow(s.feeds)
	return func() {
		stop()
		all.Wait()
	}
}

// taps returns a worker's ends of all feeds.
func (s *Server) taps() []*tap {
	var taps []*tap
	for _, f := range s.feeds {
		taps = append(taps, f.tap())
	}
	return taps
}

// sockets are the open sockets of all addresses.
type sockets struct {
	udp []*net.UDPConn
	tcp []listener
}

// listener is one for TCP, or for TLS where that is set.
type listener struct {
	*net.TCPListener
	tls   *tls.Config
	proto string
}

func (o *sockets) close() {
	for _, c := range o.udp {
		c.Close()
	}
	for _, l := range o.tcp {
		l.Close()
	}
}

// open opens all addresses or none.
func (s *Server) open(ctx context.Context) (open *sockets, err error) {
	open = &sockets{}
	defer func() {
		if err != nil {
			open.close()
		}
	}()
	for _, address := range s.config.Listen {
		udp, tcp, err := s.openBoth(ctx, address)
		if err != nil {
			return open, err
		}
		open.udp = append(open.udp, udp...)
		open.tcp = append(open.tcp, listener{TCPListener: tcp, proto: protoTCP})
		s.addrs = append(s.addrs, tcp.Addr().(*net.TCPAddr).AddrPort())
	}
	if len(s.config.TLS.Listen) == 0 {
		return open, nil
	}
	cert, err := newCertificate(s.config.TLS, s.config.Log)
	if err != nil {
		return open, err
	}
	for _, address := range s.config.TLS.Listen {
		_, family, err := parse(address)
		if err != nil {
			return open, err
		}
		l, err := s.config.Sockets.Listen(ctx, "tls", "tcp"+family, address)
		if err != nil {
			return open, fmt.Errorf("listening on TCP %s for TLS: %w", address, err)
		}
		open.tcp = append(open.tcp, listener{l, cert.config(), protoTLS})
		s.tlsAddrs = append(s.tlsAddrs, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return open, nil
}

// parse splits an address to listen on and tells the family, "" for both, "4" or "6".
func parse(address string) (host, family string, err error) {
	host, _, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("listening on %q: %w (hint: \"[::]:53\" or \"192.0.2.1:53\")", address, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		family = "4"
	}
	return host, family, nil // "[::]" is both
}

// openBoth opens an address for TCP and UDP. Where the port is the system's choice it must be free for both.
func (s *Server) openBoth(ctx context.Context, address string) ([]*net.UDPConn, *net.TCPListener, error) {
	host, family, err := parse(address)
	if err != nil {
		return nil, nil, err
	}
	left, err := s.config.Sockets.Packets("dns", address)
	if err == nil {
		err = takeOver(left)
	}
	if err != nil {
		return nil, nil, err
	}
	for tries := 0; ; tries++ {
		tcp, err := s.config.Sockets.Listen(ctx, "dns", "tcp"+family, address)
		if err != nil {
			return nil, nil, fmt.Errorf("listening on TCP %s: %w", address, err)
		}
		if len(left) > 0 {
			return left, tcp, nil
		}
		chosen := tcp.Addr().(*net.TCPAddr).Port
		udp, err := listenUDP(ctx, "udp"+family, net.JoinHostPort(host, fmt.Sprint(chosen)), s.config.Workers)
		if err == nil {
			for _, c := range udp {
				s.config.Sockets.Keep("dns", address, c)
			}
			return udp, tcp, nil
		}
		tcp.Close()
		if _, port, _ := net.SplitHostPort(address); port != "0" || tries == 10 {
			return nil, nil, err
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

// Package dnstest serves DNS on loopback for tests.
package dnstest

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/miekg/dns"
)

// Serve answers over UDP and TCP on one free port of [::1] until stop is called, which returns when both have ended.
func Serve(handler dns.Handler) (addr netip.AddrPort, stop func(), err error) {
	return serve("[::1]:0", handler, dns.DefaultMsgAcceptFunc)
}

// Serve4 is Serve on 127.0.0.1, where each address of 127.0.0.0/8 is a client of its own.
func Serve4(handler dns.Handler) (addr netip.AddrPort, stop func(), err error) {
	return serve("127.0.0.1:0", handler, dns.DefaultMsgAcceptFunc)
}

// ServeAll is Serve for a handler that takes dynamic updates too, which the library refuses by itself.
func ServeAll(handler dns.Handler) (addr netip.AddrPort, stop func(), err error) {
	return serve("[::1]:0", handler, func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept })
}

func serve(at string, handler dns.Handler, accept dns.MsgAcceptFunc) (addr netip.AddrPort, stop func(), err error) {
	l, pc, err := listen(at)
	if err != nil {
		return addr, nil, err
	}
	var stops []func()
	for _, srv := range []*dns.Server{{PacketConn: pc, Handler: handler, MsgAcceptFunc: accept}, {Listener: l, Handler: handler, MsgAcceptFunc: accept}} {
		started, done := make(chan struct{}), make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go func() { defer close(done); _ = srv.ActivateAndServe() }()
		<-started
		stops = append(stops, func() { _ = srv.Shutdown(); <-done })
	}
	return l.Addr().(*net.TCPAddr).AddrPort(), func() {
		for _, stop := range stops {
			stop()
		}
	}, nil
}

// listen tries ports until one is free for both: a port that is free for TCP may be taken for UDP.
func listen(at string) (net.Listener, net.PacketConn, error) {
	for {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return nil, nil, err
		}
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, pc, nil
		}
		l.Close()
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, err
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package user

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// identity returns a certificate for ::1 and a configuration of clients that trust it.
func identity(t *testing.T) (tls.Certificate, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv6loopback}, DNSNames: []string{"web.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, &tls.Config{RootCAs: roots, ServerName: "::1"}
}

// all is a web server that speaks every protocol on one port of ::1, two for plain and secure, and counts connections.
type all struct {
	plain, secure netip.AddrPort
	trust         *tls.Config
	conns         atomic.Int32
}

func serveAll(t *testing.T, handler http.Handler) *all {
	t.Helper()
	a := &all{}
	cert, trust := identity(t)
	a.trust = trust
	count := func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			a.conns.Add(1)
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	for _, secure := range []bool{false, true} {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: handler, ConnState: count, Protocols: protocols, ErrorLog: log.New(io.Discard, "", 0)}
		if secure {
			srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			a.secure = l.Addr().(*net.TCPAddr).AddrPort()
			go srv.ServeTLS(l, "", "")
		} else {
			a.plain = l.Addr().(*net.TCPAddr).AddrPort()
			go srv.Serve(l)
		}
		t.Cleanup(func() { srv.Close() })
	}
	udp, err := net.ListenPacket("udp", a.secure.String())
	if err != nil {
		t.Fatal(err)
	}
	quic := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{
		Certificates: []tls.Certificate{cert},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			a.conns.Add(1)
			return nil, nil
		},
	})}
	go quic.Serve(udp)
	t.Cleanup(func() { quic.Close(); udp.Close() })
	return a
}

// at returns habits of a protocol towards the server.
func (a *all) at(t *testing.T, p Protocol, secure bool, r Request) *Habits {
	t.Helper()
	r.URL = "http://" + a.plain.String() + "/path?q"
	if secure {
		r.URL = "https://" + a.secure.String() + "/path?q"
	}
	target, err := NewTarget(r)
	if err != nil {
		t.Fatal(err)
	}
	return &Habits{
		Client: "test", Target: target, Timeout: time.Minute, Attempts: 1, MaxBody: 1 << 20, Protocol: p, TLS: a.trust,
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(backendHeader, "backend-1")
	if r.URL.Path == "/path" && r.URL.RawQuery == "q" && r.Host == r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() {
		fmt.Fprintf(w, "%s %s ", r.Method, r.Header.Get("X-A"))
		_, _ = io.Copy(w, r.Body)
	}
}

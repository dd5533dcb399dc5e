// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// pair is a certificate and its key in files.
type pair struct{ cert, key string }

func (p pair) config() TLS { return TLS{Listen: []string{"[::1]:0"}, Cert: p.cert, Key: p.key} }

func newPair(t testing.TB) pair {
	dir := t.TempDir()
	p := pair{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	p.write(t, 1, true)
	return p
}

// write makes a certificate with a serial number; it and its key appear at once, unless only the certificate is to.
func (p pair) write(t testing.TB, serial int64, both bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"ns1.example.org"}}
	cert, err := x509.CreateCertificate(rand.Reader, made, made, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path, kind string, der []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put(p.cert, "CERTIFICATE", cert)
	if both {
		put(p.key, "PRIVATE KEY", private)
	}
}

// TestCertificateChanges replaces the certificate: the next connection has the new one, and while it does not fit its
// key the one before, which is said once.
func TestCertificateChanges(t *testing.T) {
	p := newPair(t)
	log := new(syncLog)
	s := start(t, Config{TLS: p.config(), Log: slog.New(slog.NewTextHandler(log, nil))})
	serial := func() int64 {
		t.Helper()
		c := dial(t, "tls", s.TLSAddrs()[0]).(*tls.Conn)
		send(t, c, pack(t, ask("www.example.org.", dns.TypeA)))
		if got := describe(t, receive(t, c)); got != "NOERROR aa q=1 an=1" {
			t.Error(got)
		}
		if state := c.ConnectionState(); state.NegotiatedProtocol != "dot" || state.Version < tls.VersionTLS12 {
			t.Errorf("%+v", state)
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	old := dial(t, "tls", s.TLSAddrs()[0])
	for _, step := range []struct {
		do   func()
		want int64
	}{
		{func() {}, 1},
		{func() { p.write(t, 2, true) }, 2},
		{func() { p.write(t, 3, false) }, 2},
		{func() {}, 2},
		{func() { os.Remove(p.key) }, 2},
		{func() { p.write(t, 4, true) }, 4},
	} {
		step.do()
		if got := serial(); got != step.want {
			t.Errorf("certificate %d, want %d", got, step.want)
		}
	}
	send(t, old, pack(t, ask("www.example.org.", dns.TypeA)))
	receive(t, old)
	if text := log.String(); strings.Count(text, "keeping the old TLS certificate") != 1 || strings.Count(text, "read the new TLS certificate") != 2 {
		t.Error(text)
	}
}

func TestCertificateIsBad(t *testing.T) {
	p := newPair(t)
	p.write(t, 2, false)
	for _, c := range []TLS{p.config(), {Listen: []string{"[::1]:0"}, Cert: p.cert + ".none", Key: p.key}} {
		s := New(Config{Listen: []string{"[::1]:0"}, TLS: c})
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestNoTLS speaks plain TCP, half a handshake and nothing to the TLS address: each is closed, and others are answered.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	s := start(t, Config{TLS: newPair(t).config(), TCP: Limits{Idle: time.Second}})
	plain := dial(t, "tcp", s.TLSAddrs()[0])
	send(t, plain, pack(t, ask("www.example.org.", dns.TypeA)))
	half := dial(t, "tcp", s.TLSAddrs()[0])
	if _, err := half.Write([]byte{22, 3, 1, 2, 0, 1}); err != nil {
		t.Fatal(err)
	}
	silent := dial(t, "tcp", s.TLSAddrs()[0])
	good := dial(t, "tls", s.TLSAddrs()[0])
	send(t, good, pack(t, ask("www.example.org.", dns.TypeA)))
	receive(t, good)
	for _, c := range []net.Conn{plain, half, silent} {
		for err := error(nil); err == nil; { // behind an alert
			if _, err = c.Read(make([]byte, 64)); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("still open")
			}
		}
	}
	awaitMetrics(t, s, `dnsingress_dns_tls_handshakes_failed_total 3`, `dnsingress_dns_requests_total{family="2",proto="tls",type="A",zone="example.org."} 1`)
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go/http3"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/internal/dnstest"
)

func TestMain(m *testing.M) {
	// Most tests wait for a load to pass: more of them at a time than there are CPUs. What -parallel says comes later and counts.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"loadgen": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			l, err := net.Listen("tcp", "[::1]:0")
			if err != nil {
				return err
			}
			protocols := new(http.Protocols)
			protocols.SetHTTP1(true)
			protocols.SetUnencryptedHTTP2(true)
			srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(hello), Protocols: protocols}}
			srv.Start()
			e.Defer(srv.Close)
			if err := secure(e); err != nil {
				return err
			}
			closed, err := refuse(e)
			if err != nil {
				return err
			}
			e.Setenv("CLOSED", closed)
			e.Setenv("URL", srv.URL)
			e.Setenv("PORT", fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
			resolver, stop, err := dnstest.Serve(dns.HandlerFunc(answer))
			if err != nil {
				return err
			}
			e.Defer(stop)
			e.Setenv("DNS", resolver.String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"json": jsonField,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "ci":
				return os.Getenv("CI") == "true", nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// refuse returns a URL that refuses connections for the length of a script: its port is bound, so that nobody else
// gets it, and nobody listens.
func refuse(e *testscript.Env) (string, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	e.Defer(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}); err != nil {
		return "", err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("http://[::1]:%d", sa.(*unix.SockaddrInet6).Port), nil
}

func hello(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/missing":
		http.NotFound(w, r)
		return
	case "/slow":
		time.Sleep(300 * time.Millisecond)
	case "/echo":
		_, _ = io.Copy(w, r.Body)
		return
	}
	fmt.Fprint(w, "hello")
}

// secure serves HTTP/1.1, HTTP/2 and HTTP/3 with TLS at $SECURE, and DNS at $DOT, whose authority is in the file ca.pem.
func secure(e *testscript.Env) error {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return err
	}
	srv := &httptest.Server{Listener: l, EnableHTTP2: true, Config: &http.Server{Handler: http.HandlerFunc(hello), ErrorLog: log.New(io.Discard, "", 0)}}
	srv.StartTLS()
	e.Defer(srv.Close)
	udp, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		return err
	}
	quic := &http3.Server{Handler: http.HandlerFunc(hello), TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: srv.TLS.Certificates})}
	go quic.Serve(udp)
	e.Defer(func() { quic.Close(); udp.Close() })
	e.Setenv("SECURE", srv.URL)
	dot, err := tls.Listen("tcp", "[::1]:0", &tls.Config{Certificates: srv.TLS.Certificates, NextProtos: []string{"dot"}}) // RFC 7858
	if err != nil {
		return err
	}
	resolver := &dns.Server{Listener: dot, Handler: dns.HandlerFunc(answer)}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = resolver.ActivateAndServe() }()
	e.Defer(func() { dot.Close(); <-ended })
	e.Setenv("DOT", dot.Addr().String())
	return os.WriteFile(filepath.Join(e.WorkDir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600)
}

// answer knows a.test, zero.test, whose TTL is 0, and late.test, which it answers after 300 ms; all are ::1. Other
// names do not exist.
func answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	name, ttl := q.Question[0].Name, uint32(60)
	switch name {
	case "late.test.":
		time.Sleep(300 * time.Millisecond)
	case "zero.test.":
		ttl = 0
	case "a.test.":
	default:
		m.Rcode = dns.RcodeNameError
	}
	if m.Rcode == dns.RcodeSuccess && q.Question[0].Qtype == dns.TypeAAAA {
		m.Answer = []dns.RR{&dns.AAAA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: ttl}, AAAA: net.IPv6loopback}}
	}
	_ = w.WriteMsg(m)
}

// jsonField implements "json FILE PATH WANT": the value at the dotted path in FILE (or stdout) is WANT,
// or with WANT ">0" a positive number.
func jsonField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: json FILE PATH WANT")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	for key := range strings.SplitSeq(args[1], ".") {
		m, _ := v.(map[string]any)
		var ok bool
		if v, ok = m[key]; !ok {
			ts.Fatalf("%s: no %q in %s", args[0], key, args[1])
		}
	}
	if n, ok := v.(float64); args[2] == ">0" {
		if !ok || n <= 0 {
			ts.Fatalf("%s is %v, want a positive number", args[1], v)
		}
		return
	}
	if got := fmt.Sprint(v); got != args[2] {
		ts.Fatalf("%s is %s, want %s", args[1], got, args[2])
	}
}

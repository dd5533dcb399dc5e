// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dnsingress/dnsingress/internal/cli"
)

func TestSizeAndDelayByQuery(t *testing.T) {
	r := prometheus.NewRegistry()
	s := httptest.NewServer(service{size: 10}.handler(r))
	defer s.Close()
	for _, test := range []struct {
		query   string
		status  int
		bytes   int64
		atLeast time.Duration
	}{
		{"", 200, 10, 0},
		{"?size=0", 200, 0, 0},
		{"?size=1000003", 200, 1000003, 0},
		{"?size=32768&delay=20ms", 200, 32768, 20 * time.Millisecond},
		{"?size=-1", 400, -1, 0},
		{"?size=many", 400, -1, 0},
		{"?delay=1h", 400, -1, 0},
	} {
		begin := time.Now()
		resp, err := http.Get(s.URL + "/" + test.query)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != test.status || test.bytes >= 0 && n != test.bytes {
			t.Errorf("%q: status %d, %d bytes, %v; want %d, %d bytes", test.query, resp.StatusCode, n, err, test.status, test.bytes)
		}
		if took := time.Since(begin); took < test.atLeast {
			t.Errorf("%q took %s, want at least %s", test.query, took, test.atLeast)
		}
	}
	if err := testutil.GatherAndCompare(r, strings.NewReader(`
# HELP backend_inflight_requests Requests being answered now.
# TYPE backend_inflight_requests gauge
backend_inflight_requests 0
# HELP backend_requests_total Requests answered, by status code.
# TYPE backend_requests_total counter
backend_requests_total{code="200"} 4
backend_requests_total{code="400"} 3
`), "backend_inflight_requests", "backend_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestLeavesInOrder(t *testing.T) {
	free := func() string {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Fatal("no IPv6 loopback: ", err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	o := options{listen: free(), admin: free(), service: service{delay: time.Second}, linger: 100 * time.Millisecond, drain: time.Minute}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- o.run(ctx, slog.New(slog.DiscardHandler)) }()
	get := func(url string) (status int, body string) {
		resp, err := http.Get(url)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	status := func(url string) int { code, _ := get(url); return code }
	for deadline := time.Now().Add(30 * time.Second); status("http://"+o.admin+"/readyz") != 200; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never ready")
		}
	}
	answered := make(chan int, 1)
	go func() { answered <- status("http://" + o.listen + "/") }()
	for len(answered) == 0 { // until it is in flight; one that was answered meanwhile was on a machine too slow to see it
		if _, metrics := get("http://" + o.admin + "/metrics"); strings.Contains(metrics, "\nbackend_inflight_requests 1\n") {
			break
		}
	}
	for status("http://"+o.admin+"/readyz") == 200 {
		stop()
	}
	if got := <-answered; got != 200 {
		t.Errorf("request in flight at the end: status %d, want 200", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRefusesBadFlags(t *testing.T) {
	var out strings.Builder
	for _, args := range [][]string{{"--size", "-1"}, {"--delay", "2h"}, {"--size", "x"}, {"extra"}, {"--tls", "[::1]:0"}} {
		if code := cli.Run(context.Background(), command(nil, nil, &out), args, &out); code != cli.ExitMisuse {
			t.Errorf("%v: exit %d, want %d", args, code, cli.ExitMisuse)
		}
	}
}

// TestSlow makes requests slow and fast again while the service runs, and asks who answers.
func TestSlow(t *testing.T) {
	slow := new(slowness)
	mux := http.NewServeMux()
	mux.Handle("PUT /slow", slow)
	admin := httptest.NewServer(mux)
	defer admin.Close()
	s := httptest.NewServer(service{size: 10, name: "backend-7", slow: slow}.handler(prometheus.NewRegistry()))
	defer s.Close()
	put := func(query string) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodPut, admin.URL+"/slow"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, bad := range []string{"", "?delay=", "?delay=-1s", "?delay=1h", "?delay=soon"} {
		if code := put(bad); code != http.StatusBadRequest {
			t.Errorf("PUT /slow%s: status %d", bad, code)
		}
	}
	took := func() time.Duration {
		begin := time.Now()
		resp, err := http.Get(s.URL + "/?delay=1ms")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("X-Backend"); got != "backend-7" {
			t.Errorf("answered by %q", got)
		}
		return time.Since(begin)
	}
	if code := put("?delay=150ms"); code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	if d := took(); d < 151*time.Millisecond {
		t.Errorf("a request took %s while it had to take 151ms more", d)
	}
	if code := put("?delay=0s"); code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	for fast := false; !fast; fast = took() < 150*time.Millisecond { // however busy the machine is, one will be
	}
}

// TestTLS asks a running backend over TLS, and finds it as it is in the clear.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	pair := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate, which is for example.com
	defer pair.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	o := options{listen: "[::1]:0", admin: "[::1]:0", service: service{size: 7}, drain: time.Minute}
	for file, block := range map[*string]*pem.Block{
		&o.tls.cert: {Type: "CERTIFICATE", Bytes: pair.Certificate().Raw}, &o.tls.key: {Type: "PRIVATE KEY", Bytes: key},
	} {
		*file = filepath.Join(dir, strings.ReplaceAll(block.Type, " ", "-"))
		if err := os.WriteFile(*file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal("no IPv6 loopback: ", err)
	}
	o.tls.listen = l.Addr().String()
	l.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.run(ctx, slog.New(slog.DiscardHandler)) }()
	client := pair.Client()
	client.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com"
	var body []byte
	for deadline := time.Now().Add(30 * time.Second); body == nil; time.Sleep(5 * time.Millisecond) {
		resp, err := client.Get("https://" + o.tls.listen + "/")
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if string(body) != "abcdefg" {
		t.Errorf("answered %q", body)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

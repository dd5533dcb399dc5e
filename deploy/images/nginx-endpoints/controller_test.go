// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	discovery "k8s.io/api/discovery/v1"
	cachetesting "k8s.io/client-go/tools/cache/testing"
)

// TestNginxFollowsTheEndpoints runs a real nginx: $NGINX, or the one in PATH.
func TestNginxFollowsTheEndpoints(t *testing.T) {
	program := os.Getenv("NGINX")
	if program == "" {
		var err error
		if program, err = exec.LookPath("nginx"); err != nil {
			const text = "NOT TESTED with a real nginx: there is none (hint: make setup, or NGINX=PROGRAM)"
			if os.Getenv("CI") == "true" {
				t.Fatal(text)
			}
			t.Skip(text)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	listen, secure, metrics := freePort(t), freePort(t), freePort(t)
	cert, key, roots := certificate(t)
	api := cachetesting.NewFakeControllerSource()
	api.Add(slice("backend-1", map[string]int32{"http": int32(backend(t, "one").Port())}, map[string]string{"::1": "ready"}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, options{
			service: "backend", metrics: metrics.String(), nginx: program,
			settings: settings{
				Listen: listen, Dir: t.TempDir(), User: me.Username, Balance: balanceLeast, Hosts: "nginx.test",
				TLS:   tlsSettings{Listen: secure, Cert: cert, Key: key},
				Tries: 2, ConnectTimeout: time.Second, Keepalive: 4, UpstreamRequests: 100, KeepaliveRequests: 100,
				Connections: 2048, ReusePort: true, Buffers: "4 16k",
			},
			quiet: time.Millisecond, longest: 10 * time.Millisecond, reload: time.Minute, drain: time.Second,
		}, api, slog.New(slog.NewTextHandler(t.Output(), nil)), t.Output())
	}()

	await(ctx, t, listen, http.StatusOK, "one")
	for _, step := range []struct {
		port   uint16
		state  string
		status int
		body   string
	}{
		{backend(t, "two").Port(), "ready", http.StatusOK, "two"},
		{1, "unready", http.StatusBadGateway, ""},
		{backend(t, "three").Port(), "ready", http.StatusOK, "three"},
	} {
		api.Modify(slice("backend-1", map[string]int32{"http": int32(step.port)}, map[string]string{"::1": step.state}))
		await(ctx, t, listen, step.status, step.body)
	}
	await(ctx, t, metrics, http.StatusOK, "nginx_http_requests_total")

	// Another service is at a host of its own, and the first at all others; TLS is for both.
	other := slice("other-1", map[string]int32{"http": int32(backend(t, "other").Port())}, map[string]string{"::1": "ready"})
	other.Labels[discovery.LabelServiceName] = "other"
	api.Add(other)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "nginx.test"}}}
	ask(ctx, t, client, "https://"+secure.String(), "other.nginx.test", http.StatusOK, "other")
	ask(ctx, t, client, "https://"+secure.String(), "nginx.test", http.StatusOK, "three")

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if conn, err := net.Dial("tcp", listen.String()); err == nil {
		conn.Close()
		t.Error("nginx still listens after its parent ended")
	}
}

// await asks until the answer is the one that is wanted.
func await(ctx context.Context, t *testing.T, at netip.AddrPort, status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask(ctx, t, client, "http://"+at.String(), "", status, body)
}

// ask is await for a host.
func ask(ctx context.Context, t *testing.T, client *http.Client, url, host string, status int, body string) {
	t.Helper()
	got := "nothing"
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if resp, err := client.Do(req); err != nil {
			got = err.Error()
		} else {
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == status && strings.Contains(string(text), body) {
				return
			}
			got = fmt.Sprintf("%s %q", resp.Status, text)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	t.Fatalf("%s %s answered %s, want %d with %q", url, host, got, status, body)
}

// certificate makes one for nginx.test and the hosts below it, as PEM files, and who trusts it.
func certificate(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"nginx.test", "*.nginx.test"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, data []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return write("tls.crt", "CERTIFICATE", der), write("tls.key", "PRIVATE KEY", secret), roots
}

// backend is an HTTP server on [::1] that answers with its name.
func backend(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, name) //nolint:errcheck // the client says what it got
	})}}
	server.Start()
	t.Cleanup(server.Close)
	return netip.MustParseAddrPort(listener.Addr().String())
}

// freePort returns a port of [::1] on which nothing listens.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}

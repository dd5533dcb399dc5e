// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"testing"
	"time"

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
	listen, metrics := freePort(t), freePort(t)
	api := cachetesting.NewFakeControllerSource()
	api.Add(slice("backend-1", map[string]int32{"http": int32(backend(t, "one").Port())}, map[string]string{"::1": "ready"}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, options{
			metrics: metrics.String(), nginx: program,
			settings: settings{Listen: listen, Dir: t.TempDir(), User: me.Username, Balance: balanceLeast},
			quiet:    time.Millisecond, longest: 10 * time.Millisecond, reload: time.Minute, drain: time.Second,
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
	got := "nothing"
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/metrics", at), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := client.Do(req); err == nil {
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
	t.Fatalf("%s answered %s, want %d with %q", at, got, status, body)
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

// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// listen opens a TCP port on a loopback address and gives its target.
func listen(t *testing.T, host string) (net.Listener, Target) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at := netip.MustParseAddrPort(l.Addr().String())
	return l, Target{Address: at.Addr(), Check: model.HealthCheck{Port: at.Port(), Timeout: 10 * time.Second}}
}

// verdict of one check, generously bounded.
func verdict(t *testing.T, target Target) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), target.Check.Timeout)
	defer cancel()
	return ask(ctx, target)
}

func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

func TestTCP(t *testing.T) {
	for _, host := range []string{"::1", "127.0.0.1"} {
		l, target := listen(t, host)
		target.Check.Protocol = model.TCP
		expect(t, "open port of "+host, verdict(t, target), "")
		l.Close()
		expect(t, "closed port of "+host, verdict(t, target), "connection refused")
	}
}

func TestHTTP(t *testing.T) {
	var asked []string
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.Host+" "+r.URL.RequestURI()) })
	mux.HandleFunc("/a/", func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.RequestURI()) })
	mux.HandleFunc("/sick", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sick", http.StatusServiceUnavailable) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/sick", http.StatusFound) })
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	l, target := listen(t, "::1")
	server := httptest.NewUnstartedServer(mux)
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	target.Check.Protocol, target.Check.Status = model.HTTP, [2]int{200, 399}
	for _, c := range []struct {
		path string
		tune func(*model.HealthCheck)
		want string
	}{
		{"/ok?full=1", func(c *model.HealthCheck) { c.Host = "shop.test" }, ""},
		{"/a/%2Fb%20c?x=%25", nil, ""},
		{"/100%", nil, "invalid URL escape"},
		{"/sick", nil, "status 503 is not in 200-399"},
		{"/moved", nil, ""},
		{"/moved", func(c *model.HealthCheck) { c.Status = [2]int{200, 299} }, "status 302"},
		{"/absent", nil, "status 404"},
		{"/absent", func(c *model.HealthCheck) { c.Status = [2]int{404, 404} }, ""},
		{"/silent", func(c *model.HealthCheck) { c.Timeout = 50 * time.Millisecond }, "deadline exceeded"},
	} {
		one := target
		if one.Check.Path = c.path; c.tune != nil {
			c.tune(&one.Check)
		}
		expect(t, c.path, verdict(t, one), c.want)
	}
	if len(asked) != 2 || asked[0] != "shop.test /ok?full=1" || asked[1] != "/a/%2Fb%20c?x=%25" {
		t.Errorf("the server was asked %q", asked)
	}
	secure := target
	secure.Check.Protocol, secure.Check.Path = model.HTTPS, "/ok"
	expect(t, "TLS to a plain port", verdict(t, secure), "server gave HTTP response to HTTPS client")
}

func TestHTTPS(t *testing.T) {
	l, target := listen(t, "::1")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Listener.Close()
	server.Listener = l
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	target.Check.Protocol, target.Check.Path, target.Check.Status = model.HTTPS, "/", [2]int{200, 200}
	expect(t, "any certificate", verdict(t, target), "")
	// The test server's certificate is its own authority's, which this machine does not know.
	target.Check.TLSName = "example.com"
	var unknown x509.UnknownAuthorityError
	expect(t, "a certificate that must be good", verdict(t, target), unknown.Error())
}

func TestGRPC(t *testing.T) {
	l, target := listen(t, "::1")
	server, state := grpc.NewServer(), grpchealth.NewServer()
	healthpb.RegisterHealthServer(server, state)
	go server.Serve(l)
	defer server.Stop()
	target.Check.Protocol = model.GRPC
	expect(t, "server", verdict(t, target), "")
	target.Check.Service = "shop.Cart"
	expect(t, "unknown service", verdict(t, target), "NotFound")
	state.SetServingStatus("shop.Cart", healthpb.HealthCheckResponse_SERVING)
	expect(t, "serving service", verdict(t, target), "")
	state.SetServingStatus("shop.Cart", healthpb.HealthCheckResponse_NOT_SERVING)
	expect(t, "service not serving", verdict(t, target), "NOT_SERVING")
	server.Stop()
	expect(t, "stopped server", verdict(t, target), "Unavailable")
}

func TestICMP(t *testing.T) {
	for _, host := range []string{"::1", "127.0.0.1"} {
		target := Target{Address: netip.MustParseAddr(host), Check: model.HealthCheck{Protocol: model.ICMP, Timeout: 10 * time.Second}}
		conn, _, err := listenPing(target.Address)
		if err != nil {
			text := "NOT TESTED: ICMP checks: " + err.Error() + " (hint: root, or net.ipv4.ping_group_range)"
			if os.Getenv("CI") == "true" {
				t.Fatal(text)
			}
			t.Skip(text)
		}
		conn.Close()
		expect(t, host, verdict(t, target), "")
	}
	// RFC 6666: a prefix that is discarded; without a route to it the answer comes at once.
	away := Target{Address: netip.MustParseAddr("100::1"), Check: model.HealthCheck{Protocol: model.ICMP, Timeout: 100 * time.Millisecond}}
	if err := verdict(t, away); err == nil {
		t.Error("an address that discards everything answers")
	}
}

// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
)

func newClient(t *testing.T, c config.Prometheus) *Client {
	t.Helper()
	c.Timeout = 10 * time.Second
	client, err := NewClient(c, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCredentials has the server see what the configuration names, and files read again for each request.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	secret := write(t, filepath.Join(dir, "secret"), "first\n")
	seen := make(chan http.Header, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		fmt.Fprint(w, vector())
	}))
	t.Cleanup(s.Close)
	for _, c := range []struct {
		name          string
		config        config.Prometheus
		header        string
		first, second string
	}{
		{"token", config.Prometheus{BearerTokenFile: secret}, "Authorization", "Bearer first", "Bearer second"},
		{"password", config.Prometheus{BasicAuth: &config.BasicAuth{Username: "dns", PasswordFile: secret}}, "Authorization", "Basic ZG5zOmZpcnN0", "Basic ZG5zOnNlY29uZA=="},
		{"header", config.Prometheus{Headers: map[string]string{"X-Scope-OrgID": "shop"}}, "X-Scope-OrgID", "shop", "shop"},
		{"secret header", config.Prometheus{HeaderFiles: map[string]string{"X-Key": secret}}, "X-Key", "first", "second"},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, secret, "first\n")
			c.config.URLs = []string{s.URL}
			client := newClient(t, c.config)
			for _, want := range []string{c.first, c.second} {
				if _, err := client.Instant(t.Context(), every("x", time.Minute), time.Now(), Samples{}); err != nil {
					t.Fatal(err)
				}
				if got := (<-seen).Get(c.header); got != want {
					t.Errorf("%s: %q, want %q", c.header, got, want)
				}
				write(t, secret, "second\n")
			}
			if err := os.Remove(secret); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(c.second, "second") || c.name == "password" {
				if _, err := client.Instant(t.Context(), every("x", time.Minute), time.Now(), Samples{}); err == nil || !strings.Contains(err.Error(), secret) {
					t.Errorf("without the file: %v", err)
				}
			}
		})
	}
}

// authority signs certificates for one name.
func authority(t *testing.T, dir, name string) (caFile, certFile, keyFile string) {
	t.Helper()
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			parent, signer = template, key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, caKey := make(ca, nil, nil)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, key := make(leaf, ca, caKey)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := func(suffix, kind string, der []byte) string {
		return write(t, filepath.Join(dir, name+suffix), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	return file(".ca", "CERTIFICATE", caDER), file(".crt", "CERTIFICATE", der), file(".key", "PRIVATE KEY", pkcs8)
}

// TestTLS asks a server that wants a client certificate and has one for another name than its address.
// TestRedirects are not followed: who answers with one would have the secrets sent to wherever it likes.
func TestRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked with %q, %q", r.Host, r.Header.Get("Authorization"), r.Header.Get("X-Key"))
		fmt.Fprint(w, vector())
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/api/v1/query", status)
		}))
		t.Cleanup(s.Close)
		client := newClient(t, config.Prometheus{
			URLs: []string{s.URL}, BearerTokenFile: write(t, filepath.Join(t.TempDir(), "token"), "secret"), Headers: map[string]string{"X-Key": "secret"},
		})
		_, err := client.Instant(t.Context(), every("x", time.Second), time.Now(), Samples{})
		if err == nil || !strings.Contains(err.Error(), "redirects are not followed (hint: ") {
			t.Errorf("%d: error %v", status, err)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	serverCA, serverCert, serverKey := authority(t, dir, "prometheus.test")
	clientCA, clientCert, clientKey := authority(t, dir, "dnsingress.test")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(clientCA)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(text)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, vector()) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	s.StartTLS()
	t.Cleanup(s.Close)
	whole := config.ClientTLS{CAFile: serverCA, CertFile: clientCert, KeyFile: clientKey, ServerName: "prometheus.test"}
	for _, c := range []struct {
		name string
		tls  config.ClientTLS
		want string
	}{
		{"whole", whole, ""},
		{"no name", config.ClientTLS{CAFile: serverCA, CertFile: clientCert, KeyFile: clientKey}, "certificate"},
		{"no trust", config.ClientTLS{CertFile: clientCert, KeyFile: clientKey, ServerName: "prometheus.test"}, "unknown authority"},
		{"no certificate", config.ClientTLS{CAFile: serverCA, ServerName: "prometheus.test"}, "certificate"},
		{"wrong certificate", config.ClientTLS{CAFile: serverCA, CertFile: serverCert, KeyFile: serverKey, ServerName: "prometheus.test"}, "certificate"},
	} {
		_, err := newClient(t, config.Prometheus{URLs: []string{s.URL}, TLS: c.tls}).Instant(t.Context(), every("x", time.Minute), time.Now(), Samples{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	_, err = NewClient(config.Prometheus{TLS: config.ClientTLS{CAFile: filepath.Join(dir, "none")}}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestOldServers know GET alone: they are asked so, and from then on only so.
func TestOldServers(t *testing.T) {
	methods := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods <- r.Method + " " + r.FormValue("query")
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		fmt.Fprint(w, vector())
	}))
	t.Cleanup(s.Close)
	client := newClient(t, config.Prometheus{URLs: []string{s.URL + "/prefix"}})
	for range 2 {
		if _, err := client.Instant(t.Context(), every("x", time.Minute), time.Now(), Samples{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"POST x", "GET x", "GET x"} {
		if got := <-methods; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestRefusedOnce: what one server cannot read no other can.
func TestRefusedOnce(t *testing.T) {
	bad := answer(t, 400, `{"status":"error","errorType":"bad_data","error":"1:1: parse error"}`)
	client := newClient(t, config.Prometheus{URLs: []string{bad, answer(t, 200, vector())}})
	if _, err := client.Instant(t.Context(), every("x", time.Minute), time.Now(), Samples{}); err == nil || !strings.Contains(err.Error(), "parse error") {
		t.Errorf("error %v", err)
	}
}

// TestCost has requests, samples and bytes counted, and the server's clock watched.
func TestCost(t *testing.T) {
	body := vector(`{"metric":{"pod":"a"},"value":[1,"1"]}`, `{"metric":{"pod":"b"},"value":[1,"1"]}`)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	registry := prometheus.NewRegistry()
	client, err := NewClient(config.Prometheus{URLs: []string{s.URL}, Timeout: 10 * time.Second}, registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := client.Instant(t.Context(), every("x", time.Minute), time.Now(), Samples{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := testutil.ToFloat64(client.requests.WithLabelValues(s.URL, "ok")); n != 3 {
		t.Errorf("%v requests", n)
	}
	if n := testutil.ToFloat64(client.samples); n != 6 {
		t.Errorf("%v samples", n)
	}
	if n := testutil.ToFloat64(client.bytes); n != float64(3*len(body)) {
		t.Errorf("%v bytes, want %d", n, 3*len(body))
	}
	if skew := testutil.ToFloat64(client.skew.WithLabelValues(s.URL)); skew < -3602 || skew > -3590 {
		t.Errorf("skew %v", skew)
	}
}

// TestThePast comes with the first result alone, at the same instants as if it had been asked for at its time, and no
// more of it than memory bears.
func TestThePast(t *testing.T) {
	ranges := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/query" {
			fmt.Fprint(w, vector(`{"metric":{"pod":"a"},"value":[1,"9"]}`))
			return
		}
		ranges <- r.FormValue("start") + " " + r.FormValue("end") + " " + r.FormValue("step")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[[%s,"1"],[%s,"3"]]}]}}`, r.FormValue("start"), r.FormValue("end"))
	}))
	t.Cleanup(s.Close)
	e := newEvaluator(t, config.Prometheus{URLs: []string{s.URL}, Timeout: 10 * time.Second, FirstPass: 10 * time.Second, Delay: time.Second}, nil)
	due := time.Unix(1000, 0).UTC()
	q := every("x", 5*time.Second)
	r := e.Evaluate(t.Context(), q, due, Samples{}, 15*time.Second)
	if r.Err != nil || !r.At.Equal(due.Add(-time.Second)) || len(r.Past) != 3 {
		t.Fatalf("%+v", r)
	}
	if got := <-ranges; got != "984 994 5" {
		t.Errorf("asked for %s", got)
	}
	for i, want := range []string{"1", "", "3"} {
		p := r.Past[i]
		if d := time.Duration(3-i) * q.Interval; !p.Due.Equal(due.Add(-d)) || !p.At.Equal(due.Add(-d-time.Second)) {
			t.Errorf("%d: due %v, at %v", i, p.Due, p.At)
		}
		value, n := p.Samples.Value("", "a", netip.Addr{})
		if got := fmt.Sprint(value); (n == 0) != (want == "") || n > 0 && got != want {
			t.Errorf("%d: %v of %d, want %q", i, value, n, want)
		}
	}
	if r := e.Evaluate(t.Context(), q, due, r.Samples, 0); r.Past != nil || len(ranges) > 0 {
		t.Error("the past is asked for again")
	}
}

// TestLongPast wants more of the past than Prometheus gives at once: it refuses above 11,000 points a series.
func TestLongPast(t *testing.T) {
	number := func(r *http.Request, key string) float64 {
		n, err := strconv.ParseFloat(r.FormValue(key), 64)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/v1/query":
			fmt.Fprint(w, vector(`{"metric":{"pod":"web-1"},"value":[1,"1"]}`))
		case (number(r, "end")-number(r, "start"))/number(r, "step") > 11_000:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries"}`)
		default:
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
		}
	}))
	t.Cleanup(s.Close)
	e := newEvaluator(t, config.Prometheus{URLs: []string{s.URL}, Timeout: 10 * time.Second, FirstPass: time.Minute}, func(Result) {})
	at := time.Unix(1_800_000_000, 0)
	r := e.Evaluate(t.Context(), every("x", time.Second), at, Samples{}, 24*time.Hour)
	if r.Err != nil || len(r.Past) != 11_000 {
		t.Fatalf("%d instants of the past, error %v", len(r.Past), r.Err)
	}
	if first, last := at.Sub(r.Past[0].Due), at.Sub(r.Past[len(r.Past)-1].Due); first != 11_000*time.Second || last != time.Second {
		t.Errorf("from %v to %v ago", first, last)
	}
}

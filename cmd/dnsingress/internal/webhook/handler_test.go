// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

// memory is a store of this process's own.
type memory struct {
	records []*externaldns.Endpoint
	applied []*externaldns.Changes
	fails   error
	entered chan struct{} // where it is not nil, Apply says that it has begun, and waits for leave
	leave   chan struct{}
}

func (m *memory) Records(context.Context) ([]*externaldns.Endpoint, error) { return m.records, m.fails }

func (m *memory) Apply(ctx context.Context, c *externaldns.Changes, _ func(*externaldns.Endpoint) bool) error {
	if m.entered != nil {
		m.entered <- struct{}{}
		<-m.leave
	}
	m.applied = append(m.applied, c)
	return errors.Join(m.fails, ctx.Err())
}

func newServer(t testing.TB, store Store) *Server {
	t.Helper()
	s, err := New(Options{
		Listen: "[::1]:0", Admin: "[::1]:0", Zones: []string{"apps.test", "8.b.d.0.1.0.0.2.ip6.arpa."}, Timeout: time.Minute, Store: store,
		Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.main.Close()
		s.admin.Close()
	})
	return s
}

// send gives status, type and body of the answer.
func send(s *Server, method, path, body string, header ...string) (status int, contentType, text string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w.Code, w.Header().Get("Content-Type"), w.Body.String()
}

func TestNegotiation(t *testing.T) {
	s := newServer(t, &memory{})
	tests := []struct {
		name   string
		accept []string
		want   int
	}{
		{"external-dns", []string{MediaType}, 200},
		{"nothing said", nil, 200},
		{"anything", []string{"*/*"}, 200},
		{"spaces", []string{"application/external.dns.webhook+json; version=1"}, 200},
		{"one of several", []string{"text/html, application/external.dns.webhook+json;version=1;q=0.5"}, 200},
		{"two fields", []string{"text/html", "application/*"}, 200},
		{"another version", []string{"application/external.dns.webhook+json;version=2"}, 406},
		{"another type", []string{"application/json"}, 406},
		{"excluded", []string{MediaType + ";q=0"}, 406},
		{"excluded in thousandths", []string{"*/*;q=0.000"}, 406},
		{"no type at all", []string{";;;"}, 406},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var header []string
			for _, a := range tt.accept {
				header = append(header, "Accept", a)
			}
			status, contentType, body := send(s, "GET", "/", "", header...)
			if status != tt.want {
				t.Fatalf("status %d, want %d: %s", status, tt.want, body)
			}
			if status != 200 {
				if !strings.Contains(body, MediaType) {
					t.Errorf("the error does not say what is spoken: %s", body)
				}
				return
			}
			if contentType != "application/external.dns.webhook+json;version=1" {
				t.Errorf("type %q: external-dns compares it as text", contentType)
			}
			if want := `{"include":["8.b.d.0.1.0.0.2.ip6.arpa","apps.test"]}` + "\n"; body != want {
				t.Errorf("%s, want %s", body, want)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	m := &memory{}
	s := newServer(t, m)
	if status, _, body := send(s, "GET", "/records", ""); status != 200 || body != "[]\n" {
		t.Errorf("nothing: %d %s", status, body)
	}
	m.records = []*externaldns.Endpoint{{
		DNSName: "a.apps.test", RecordType: "AAAA", Targets: []string{"fd00::1"}, RecordTTL: 60, SetIdentifier: "one",
		Labels: map[string]string{"owner": "me"}, ProviderSpecific: []externaldns.Property{{Name: "weight", Value: "3"}},
	}}
	status, contentType, body := send(s, "GET", "/records", "", "Accept", MediaType)
	want := `[{"dnsName":"a.apps.test","targets":["fd00::1"],"recordType":"AAAA","setIdentifier":"one","recordTTL":60,"labels":{"owner":"me"},"providerSpecific":[{"name":"weight","value":"3"}]}]` + "\n"
	if status != 200 || contentType != MediaType || body != want {
		t.Errorf("%d %s %s", status, contentType, body)
	}
	m.fails = errors.New("the API server is away")
	if status, _, body := send(s, "GET", "/records", ""); status != 500 || !strings.Contains(body, "is away") {
		t.Errorf("failure: %d %s", status, body)
	}
}

func TestAdjustLeavesOutWhatCannotBeWritten(t *testing.T) {
	s := newServer(t, &memory{})
	tests := []struct{ name, body, want string }{
		{"nothing", `null`, `[]`},
		{"as it is", `[{"dnsName":"A.apps.test.","recordType":"a","targets":["192.0.2.1"],"recordTTL":5}]`, `[{"dnsName":"A.apps.test.","targets":["192.0.2.1"],"recordType":"a","recordTTL":5}]`},
		{"bad ones among good ones", `[null,{"dnsName":"a.apps.test","recordType":"A"},{"dnsName":"b.apps.test","recordType":"CAA","targets":["x"]},
			{"dnsName":"c.apps.test","recordType":"A","targets":["192.0.2.1"],"recordTTL":-1},{"dnsName":"d..apps.test","recordType":"A","targets":["192.0.2.1"]},
			{"dnsName":"e.apps.test","recordType":"TXT","targets":["x"]}]`, `[{"dnsName":"e.apps.test","targets":["x"],"recordType":"TXT"}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, contentType, body := send(s, "POST", "/adjustendpoints", tt.body, "Content-Type", MediaType, "Accept", MediaType)
			if status != 200 || contentType != MediaType || strings.TrimSpace(body) != tt.want {
				t.Errorf("%d %s %s, want %s", status, contentType, body, tt.want)
			}
		})
	}
}

func TestChanges(t *testing.T) {
	const good = `{"dnsName":"a.apps.test","recordType":"A","targets":["192.0.2.1"]}`
	tests := []struct {
		name, body string
		status     int
		want       string // in the error
	}{
		{"nothing", `{}`, 204, ""},
		{"keys of external-dns before 0.17", `{"Create":[` + good + `],"UpdateOld":null,"UpdateNew":null,"Delete":null}`, 204, ""},
		{"a key of tomorrow", `{"create":[` + good + `],"rename":[]}`, 204, ""},
		{"note of the apex", `{"create":[{"dnsName":"a-apps.test","recordType":"TXT","targets":["heritage=external-dns"]}]}`, 204, ""},
		{"what cannot be goes", `{"delete":[{"dnsName":"elsewhere.test","recordType":"CAA"}]}`, 204, ""},
		{"twice the same", `{"create":[` + good + `,` + good + `]}`, 204, ""},
		{"empty", ``, 400, "the body is empty"},
		{"no JSON", `{"create":`, 400, "reading JSON"},
		{"more behind it", `{} {}`, 400, "there is more behind the value"},
		{"a list", `[]`, 400, "array"},
		{"another kind", `{"create":[{"dnsName":7}]}`, 400, "create.dnsName is a number"},
		{"null", `{"create":[null]}`, 400, "create[0] is null"},
		{"null to be deleted", `{"delete":[null]}`, 400, "delete[0] is null"},
		{"one half of an update", `{"updateNew":[` + good + `]}`, 400, "updateOld has 0 endpoints and updateNew 1"},
		{"no name", `{"create":[{"recordType":"A","targets":["192.0.2.1"]}]}`, 400, `create[0].dnsName: "" is no domain name`},
		{"label too long", `{"create":[{"dnsName":"` + strings.Repeat("a", 64) + `.apps.test","recordType":"A","targets":["192.0.2.1"]}]}`, 400, "is no domain name"},
		{"no type", `{"create":[{"dnsName":"a.apps.test","targets":["192.0.2.1"]}]}`, 400, "create[0].recordType is missing"},
		{"unknown type", `{"create":[{"dnsName":"a.apps.test","recordType":"CAA","targets":["x"]}]}`, 400, `"CAA" is unknown (hint: one of A, AAAA`},
		{"no targets", `{"create":[{"dnsName":"a.apps.test","recordType":"A"}]}`, 400, "a.apps.test A has none"},
		{"negative TTL", `{"create":[{"dnsName":"a.apps.test","recordType":"A","targets":["192.0.2.1"],"recordTTL":-1}]}`, 400, "-1 is no TTL"},
		{"another zone", `{"create":[{"dnsName":"a.other.test","recordType":"A","targets":["192.0.2.1"]}]}`, 400, "a.other.test lies outside of the zones 8.b.d.0.1.0.0.2.ip6.arpa, apps.test"},
		{"a name that ends alike", `{"create":[{"dnsName":"myapps.test","recordType":"A","targets":["192.0.2.1"]}]}`, 400, "lies outside"},
		{"twice and differently", `{"create":[` + good + `,{"dnsName":"A.apps.test.","recordType":"a","targets":["192.0.2.2"]}]}`, 400, "written twice, and differently"},
		{"all mistakes at once", `{"create":[null,null]}`, 400, "create[0] is null\ncreate[1] is null"},
		{"very many mistakes", `{"create":[` + strings.Repeat("null,", 99) + `null]}`, 400, "and 80 more"},
		{"too long", `{"create":[` + strings.Repeat(" ", mostBody) + `]}`, 413, "more than 33554432 octets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &memory{}
			status, _, body := send(newServer(t, m), "POST", "/records", tt.body, "Content-Type", MediaType)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%d %s, want %d with %q", status, body, tt.status, tt.want)
			}
			if whole := len(m.applied) == 1; whole != (status == 204) {
				t.Errorf("status %d, and %d batches were given on", status, len(m.applied))
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s := newServer(t, &memory{})
	tests := []struct {
		name, method, path string
		header             []string
		want               int
	}{
		{"no type", "POST", "/records", nil, 415},
		{"another type", "POST", "/records", []string{"Content-Type", "application/json"}, 415},
		{"another version", "POST", "/adjustendpoints", []string{"Content-Type", "application/external.dns.webhook+json;version=2"}, 415},
		{"an answer of another type", "POST", "/adjustendpoints", []string{"Content-Type", MediaType, "Accept", "text/html"}, 406},
		{"another method", "PUT", "/records", nil, 405},
		{"adjusting nothing", "GET", "/adjustendpoints", nil, 405},
		{"another path", "GET", "/record", nil, 404},
		{"alive", "GET", "/healthz", nil, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if status, _, body := send(s, tt.method, tt.path, "{}", tt.header...); status != tt.want {
				t.Errorf("%d %s, want %d", status, body, tt.want)
			}
		})
	}
	if n := testutil.ToFloat64(s.metrics.requests.WithLabelValues("POST", "/records", "415")); n != 2 {
		t.Errorf("%v requests with status 415 are counted, want 2", n)
	}
}

// A batch is not broken off, and nothing is read or written beside it.
func TestOneBatchAtATime(t *testing.T) {
	m := &memory{entered: make(chan struct{}), leave: make(chan struct{})}
	s := newServer(t, m)
	ctx, goAway := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	base := "http://" + s.Addr().String()
	request, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(request, "POST", base+"/records", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", MediaType)
	gone := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(r)
		gone <- err
	}()
	<-m.entered
	for _, method := range []string{"GET", "POST"} {
		if status, _, body := send(s, method, "/records", "{}", "Content-Type", MediaType); status != 503 || !strings.Contains(body, "batch is being written") {
			t.Errorf("%s beside a batch: %d %s", method, status, body)
		}
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/metrics": `dnsingress_webhook_requests_total{method="GET",path="/records",status="503"} 1`} {
		r, err := http.Get("http://" + s.AdminAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s: %s %v %s", path, r.Status, err, text)
		}
	}
	if r, err := http.Get("http://" + s.AdminAddr().String() + "/records"); err != nil || r.StatusCode != http.StatusNotFound {
		t.Errorf("records at the address of probes: %v %v", r, err)
	}
	goAway()
	m.leave <- struct{}{}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(m.applied) != 1 {
		t.Errorf("%d batches were written, want 1", len(m.applied))
	}
}

// What is read of a batch is what external-dns wrote.
func TestNothingIsLost(t *testing.T) {
	m := &memory{}
	const text = `{"create":[{"dnsName":"a.apps.test","targets":["fd00::1","fd00::2"],"recordType":"AAAA","setIdentifier":"x","recordTTL":7,` +
		`"labels":{"owner":"o","resource":"service/a/b"},"providerSpecific":[{"name":"webhook/colour","value":"red"}]}]}`
	if status, _, body := send(newServer(t, m), "POST", "/records", text, "Content-Type", MediaType); status != 204 {
		t.Fatal(status, body)
	}
	data, err := json.Marshal(m.applied[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(data)); diff != "" {
		t.Error(diff)
	}
}

// FuzzBodies: whatever is sent is refused with a reason or given on whole, and what is given on can be read again.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"create":[{"dnsName":"a.apps.test","recordType":"A","targets":["192.0.2.1"]}]}`,
		`{"updateOld":[{"dnsName":"a.apps.test","recordType":"A"}],"updateNew":[{"dnsName":"a.apps.test","recordType":"A","targets":[""]}]}`,
		`{"delete":[null]}`, `{"Create":[{"DNSName":"*.apps.test","recordType":"TXT","targets":["\"x\""],"labels":{"a":"b"}}]}`, `{"create":[{"recordTTL":1e400}]}`,
	} {
		f.Add([]byte(seed))
	}
	metrics, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &memory{}
		s := &Server{options: Options{Store: m, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)}, zones: zones{"apps.test"}, metrics: metrics}
		status, _, body := send(s, "POST", "/records", string(data), "Content-Type", MediaType)
		switch {
		case status == 204 && len(m.applied) == 1:
			again, err := json.Marshal(m.applied[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.zones.readChanges(again); err != nil {
				t.Fatalf("%s is refused the second time: %v", again, err)
			}
			for _, e := range m.applied[0].Written() {
				if !s.zones.has(e.DNSName) && s.zones.publishes(e) {
					t.Fatalf("%s would be published", e.DNSName)
				}
			}
		case status == 400 && len(m.applied) == 0 && strings.TrimSpace(body) != "":
		default:
			t.Fatalf("%d %s, %d batches", status, body, len(m.applied))
		}
		status, _, body = send(s, "POST", "/adjustendpoints", string(data), "Content-Type", MediaType)
		if status != 200 && status != 400 {
			t.Fatal(status, body)
		}
		if status == 200 {
			adjusted, bad, err := readEndpoints([]byte(body))
			if err != nil || bad != nil {
				t.Fatalf("%s: %v %v", body, bad, err)
			}
			if len(adjusted) == 0 {
				return
			}
			if twice, _, text := send(s, "POST", "/adjustendpoints", body, "Content-Type", MediaType); twice != 200 || text != body {
				t.Fatalf("adjusted twice: %d %s, once: %s", twice, text, body)
			}
		}
	})
}

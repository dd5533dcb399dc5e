// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/peer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/registration"
)

// shop is an explainer whose pool changes: from the third question on, a pod is out.
type shop struct {
	mu    sync.Mutex
	asked int
}

func (s *shop) Names() []string { return []string{"web.shop.test."} }

func (s *shop) Pools(match string, _ int) ([]pool.Summary, int) {
	changed := time.Now().Add(-90 * time.Second)
	all := []pool.Summary{
		{Name: "api.shop.test.", Object: "Service shop/api", In: 0, Ready: 0, Members: 1, TTL: 5, Problems: 1},
		{Name: "geo.shop.test.", Object: "DNSEndpoint shop/geo", Records: 3, TTL: 60},
		{Name: "web.shop.test.", Object: "Service shop/web", In: 2, Ready: 3, Members: 3, TTL: 8, Steered: true, FailOpen: false, Changed: &changed},
	}
	var list []pool.Summary
	for _, p := range all {
		if strings.Contains(p.Name, match) {
			list = append(list, p)
		}
	}
	return list, len(list)
}

func (s *shop) Explain(name string) (pool.Explanation, bool) {
	number := func(f float64) *pool.Number { n := pool.Number(f); return &n }
	switch name {
	case "web.shop.test.":
	case "geo.shop.test.":
		return pool.Explanation{
			Name: name, Object: "DNSEndpoint shop/geo", Zone: "shop.test.", Serial: 7, Members: []pool.Member{},
			Records: []pool.RecordSet{{Type: "A", TTL: 60, Options: []pool.Option{
				{Geo: "IE", Set: "dublin", Weight: 1, Share: 0.25, Records: []string{"192.0.2.1", "192.0.2.2"}}, {Geo: "*", Weight: 1, Share: 1, Records: []string{"192.0.2.9"}},
			}}},
			Follows: []pool.Followed{{Name: "lb.example.org.", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, Age: number(30), Error: "no answer in time"}},
		}, true
	default:
		return pool.Explanation{}, false
	}
	s.mu.Lock()
	s.asked++
	asked := s.asked
	s.mu.Unlock()
	now := time.Now()
	x := pool.Explanation{
		Name: name, Object: "Service shop/web", Zone: "shop.test.", Serial: 7, TTL: 8, TTLRule: "calm", NegativeTTL: 2, Selection: "weighted", Max: 2,
		Policy: &pool.Policy{Signals: []pool.Signal{
			{Name: "load", Kind: "promql", Query: "sum by (pod) (load)", Interval: 5, Age: number(1.25), Series: 3},
			{Name: "port", Kind: "health", Interval: 5},
		}, Rules: []pool.Rule{{Name: "busy", Signal: "load", Says: "keep < 8", Limit: number(8)}}},
		Groups: []pool.Group{{Name: "blue", Weight: 90, In: 2, Share: 0.9}}, LastResort: true,
		Problems: []string{"NameTaken: <img src=x onerror=alert(1)>"},
	}
	for i := range 3 {
		m := pool.Member{
			Address: netip.MustParseAddr(fmt.Sprintf("fd00::%d", i+1)), Pod: fmt.Sprintf("web-%d", i), Node: "worker-1",
			State: "in", Reason: "within", Rule: "load", Signal: "load", Value: number(float64(asked + i)), Limit: number(8), Weight: 0.5, Since: now.Add(-time.Hour),
		}
		if i == 2 && asked > 2 {
			m.State, m.Reason, m.Value, m.Weight, m.Since = "out", "beyond", number(9.5), 0, now
		}
		x.Members = append(x.Members, m)
	}
	x.History = []pool.Event{
		{At: now.Add(-time.Minute), Trigger: "restart", TTL: 5, TTLRule: "pool", In: 3, Ready: 3, Changes: []pool.Change{}},
		{At: now.Add(-10 * time.Second), Trigger: "metrics", TTL: 8, TTLRule: "calm", In: 2, Ready: 3, Changes: []pool.Change{
			{Address: netip.MustParseAddr("fd00::3"), Pod: "web-2", Was: "in", State: "out", Reason: "beyond", Rule: "load", Value: number(9.5)},
		}},
	}
	return x, true
}

// federation is how two other clusters stand.
func federation() any {
	heard := time.Now().Add(-3 * time.Minute)
	return peer.Status{
		Cluster: "north", Zone: "north.peers.test.", Lease: 5, Peers: []peer.State{
			{Name: "south", Up: true, Since: heard, Heard: &heard, Identity: "8a0c", Hosts: 2, Members: 7, Refused: []string{"mail.shop.test."}},
			{Name: "west", Since: heard, Why: "the lease has ended, last heard 3m0s ago"},
		},
		Denied: []peer.Denial{{From: netip.MustParseAddr("fd00::5"), Key: "other.", Why: "TSIG: BADKEY", Count: 3, Last: heard}},
	}
}

// tree is who has registered here, and where this server has.
func tree() any {
	at := time.Now().Add(-3 * time.Minute)
	return registration.Brief{
		Nameservers: []registration.Registered{
			{Zone: "apps.test.", Nameserver: "ns.a.apps.test.", Addresses: []netip.Addr{netip.MustParseAddr("fd00::a")}, Key: "leaf-a.", Children: 12, Left: 41.7, Since: at},
			{Zone: "apps.test.", Nameserver: "ns.elsewhere.test.", Key: "leaf-b.", Children: 3, Last: 1, Left: 3600, Since: at},
		},
		Left:     2,
		Refusals: []registration.Refusal{{Count: 4, From: netip.MustParseAddr("fd00::6"), Last: at}},
		Uppers:   []registration.Upper{{Zone: "test.", Upper: "[fd00::1]:53", Nameserver: "ns.north.test.", Zones: 2, Renewed: &at}, {Zone: "test.", Upper: "[fd00::2]:53", Nameserver: "ns.north.test.", Trouble: "no answer in time"}},
		Troubled: []registration.Compared{{Child: "shop.apps.test.", Object: "DNSDelegation shop/shop", Problems: []string{"ChildDisagrees: other name servers"}}},
	}
}

// browser finds a Chromium, or ends the test.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	text := "NOT TESTED in a browser: there is no chromium (hint: apt-get install chromium; make test-page)"
	if os.Getenv("CI") == "true" || os.Getenv("TEST_PAGE") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// TestPageInABrowser has a real browser show the page, lets two virtual minutes pass, and reads what it shows then.
// PAGE_SCREENSHOTS=DIR keeps pictures.
func TestPageInABrowser(t *testing.T) {
	chromium := browser(t)
	s := &Server{options: Options{Explainer: new(shop), Lists: map[string]func() any{"peers": federation, "delegations": tree}, Gatherer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)}}
	var mu sync.Mutex
	var paths []string
	var headers http.Header
	handler := s.handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path)
		if r.URL.Path == "/" {
			headers = w.Header().Clone()
		}
	}))
	defer server.Close()
	show := func(fragment string, more ...string) (dom, log string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		args := append([]string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage", "--no-first-run",
			"--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", "--virtual-time-budget=9000", "--window-size=1280,1100",
		}, more...)
		var out, errs strings.Builder
		cmd := exec.CommandContext(ctx, chromium, append(args, server.URL+"/"+fragment)...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, errs.String())
		}
		return out.String(), errs.String()
	}
	dom, log := show("#web.shop.test.", "--dump-dom")
	text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(dom, " ")
	text = regexp.MustCompile(`\s+`).ReplaceAllString(text, " ")
	for _, want := range []string{
		"live", "3 names", "api.shop.test.", "1 problem", "2 / 3", "3 records", // the list
		"blue 90 2 90 %", "the last resort",
		"Service shop/web", "shop.test. serial 7", "2 of 3 members; weighted, at most 2 in an answer", "8 s, set by calm; 2 s when nobody is in",
		"web-0 fd00::1 worker-1 ● in within load", "limit 8", "50 %", // a member
		"web-2 fd00::3 worker-1 ○ out beyond load 9.5 limit 8", // which has gone out since the page was opened
		"sum by (pod) (load)", "1.25 s", "none yet", "busy load keep &lt; 8 8", "web-2: in → ○ out beyond load 9.5", "restart",
		"NameTaken: &lt;img src=x onerror=alert(1)&gt;", // text, not markup
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	for _, want := range []string{`<a href="#web.shop.test." aria-current="true">`, `aria-label="web-0: from 1 to`, `aria-label="members in the answer since`, `<th scope="row">`} {
		if !strings.Contains(dom, want) {
			t.Errorf("the document has no %s", want)
		}
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the browser complains: %s", line)
		}
	}
	if csp := headers.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") {
		t.Errorf("the page's policy is %q", csp)
	}
	mu.Lock()
	for _, p := range paths {
		switch p {
		case "/", "/page/app.js", "/page/style.css", "/pools", "/explain", "/peers", "/delegations":
		default:
			t.Errorf("the page asked for %s", p)
		}
	}
	mu.Unlock()
	if strings.Contains(dom, "http://") && strings.Count(dom, "http://") != strings.Count(dom, "http://www.w3.org/2000/svg") {
		t.Error("the document refers to somewhere else")
	}

	if dir := os.Getenv("PAGE_SCREENSHOTS"); dir != "" {
		show("#web.shop.test.", "--screenshot="+filepath.Join(dir, "light.png"))
		show("#web.shop.test.", "--screenshot="+filepath.Join(dir, "dark.png"), "--blink-settings=preferredColorScheme=0")
		show("#web.shop.test.", "--screenshot="+filepath.Join(dir, "narrow.png"), "--window-size=420,1600")
		show("", "--screenshot="+filepath.Join(dir, "list.png"))
	}
	dom, log = show("#geo.shop.test.", "--dump-dom")
	text = strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(dom, " ")), " ")
	for _, want := range []string{"A 60 s IE dublin 25 % 192.0.2.1 192.0.2.2", "A 60 s others – 100 % 192.0.2.9", "lb.example.org. no answer in time 192.0.2.9 30 s ago"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q in %s", want, text)
		}
	}
	if strings.Contains(log, "CONSOLE") || strings.Contains(text, "Members") {
		t.Errorf("the browser complains, or members are shown of what has none: %s", log)
	}
	dom, log = show("", "--dump-dom")
	text = strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(dom, " ")), " ")
	for _, want := range []string{
		"This is cluster north; members of another count for 5 s", "south 8a0c ● up for 3 min 3 min ago 2 / 7 not granted: mail.shop.test.",
		"west ○ down for 3 min never 0 / 0 the lease has ended", "fd00::5 was refused the zone north.peers.test. 3 times, 3 min ago: TSIG: BADKEY, key other.",
		"[fd00::1]:53 test. ns.north.test. 2 3 min ago –", "[fd00::2]:53 test. ns.north.test. 0 never no answer in time",
		"ns.a.apps.test. fd00::a apps.test. 12 leaf-a. 42 s 3 min", "ns.elsewhere.test. addresses are elsewhere apps.test. 3 leaf-b. 3600 s its lease has ended; 1 child has nobody else 3 min",
		"Caches may still hold 2 that have left.", "fd00::6, 4 times, 3 min ago:", "shop.apps.test., by DNSDelegation shop/shop: ChildDisagrees: other name servers",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q in %s", want, text)
		}
	}
	if strings.Contains(log, "CONSOLE") {
		t.Errorf("the browser complains: %s", log)
	}
	for _, fragment := range []string{"#gone.shop.test.", "#100%"} {
		if dom, _ := show(fragment, "--dump-dom"); !strings.Contains(dom, "No object has this name now.") || !strings.Contains(dom, ">live<") {
			t.Errorf("%s: a name that nobody has is not told of", fragment)
		}
	}
}

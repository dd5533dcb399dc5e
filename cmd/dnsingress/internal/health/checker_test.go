// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name, outcomes, want string // outcome: + or -; state after each: ? + -
		up, down             int
	}{
		{"first success settles", "+", "+", 3, 3},
		{"first failures do not settle below the threshold", "--+", "??+", 1, 3},
		{"failures settle a new member", "---", "??-", 1, 3},
		{"a failure among successes changes nothing", "+-+--+", "++++++", 1, 3},
		{"down and up", "+---+-++", "+++-----", 3, 3},
		{"up after three in a row", "---+++", "??---+", 3, 3},
		{"thresholds of one", "+-+-", "+-+-", 1, 1},
	} {
		s := &subject{target: Target{Check: model.HealthCheck{Up: c.up, Down: c.down}}}
		got := ""
		for i, o := range c.outcomes {
			before := s.result.Healthy
			known := s.known
			var err error
			if o == '-' {
				err = errors.New("sick")
			}
			turned := s.settle(err, time.Unix(int64(i), 0))
			if turned != (known != s.known || before != s.result.Healthy) {
				t.Errorf("%s: outcome %d: turned is %t", c.name, i, turned)
			}
			switch {
			case !s.known:
				got += "?"
			case s.result.Healthy:
				got += "+"
			default:
				got += "-"
			}
			if turned && (s.result.Since != time.Unix(int64(i), 0) || (s.result.Detail == "") != s.result.Healthy) {
				t.Errorf("%s: outcome %d: %+v", c.name, i, s.result)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// delivery is what a checker tells.
type delivery struct {
	pool   model.Ref
	check  string
	read   func() map[netip.Addr]float64
	values map[netip.Addr]float64
}

// start runs a checker until the test ends.
func start(t *testing.T, concurrency int) (*Checker, <-chan delivery, *prometheus.Registry) {
	t.Helper()
	told := make(chan delivery, 1000)
	registry := prometheus.NewRegistry()
	c, err := New(Options{
		Deliver: func(pool model.Ref, check string, _ time.Time, values func() map[netip.Addr]float64) {
			told <- delivery{pool: pool, check: check, read: values}
		},
		Concurrency: concurrency, Registerer: registry, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return c, told, registry
}

func next(t *testing.T, told <-chan delivery) delivery {
	t.Helper()
	select {
	case d := <-told:
		d.values, d.read = d.read(), nil
		return d
	case <-time.After(time.Minute):
		t.Fatal("nothing delivered in a minute")
		return delivery{}
	}
}

func TestCheckerFollowsAMember(t *testing.T) {
	l, target := listen(t, "::1")
	pool, check, here := model.Ref{Kind: "Service", Namespace: "shop", Name: "web"}, target.Check, target.Address
	check.Name, check.Protocol, check.Up, check.Down = "port", model.TCP, 2, 2
	check.Interval, check.UnhealthyInterval = 20*time.Millisecond, 10*time.Millisecond
	target = Target{pool, check, here}
	want := func(what string, got delivery, value float64) {
		t.Helper()
		if d := cmp.Diff(delivery{pool: pool, check: "port", values: map[netip.Addr]float64{here: value}}, got, cmp.AllowUnexported(delivery{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	c, told, registry := start(t, 0)
	if _, known := c.State(target); known {
		t.Error("something is known of what is no target")
	}
	c.Set(pool, []model.HealthCheck{check}, []netip.Addr{here})
	want("first", next(t, told), 1)
	address := l.Addr().String()
	l.Close()
	want("after closing", next(t, told), 0)
	down, known := c.State(target)
	if !known || down.Healthy || !strings.Contains(down.Detail, "connection refused") {
		t.Errorf("state %+v, known %t", down, known)
	}
	gauge := "# HELP dnsingress_health_targets Members under a health check by settled state.\n# TYPE dnsingress_health_targets gauge\ndnsingress_health_targets{protocol=\"tcp\",state=\"unhealthy\"} 1\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(gauge), "dnsingress_health_targets"); err != nil {
		t.Error(err)
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	want("after opening again", next(t, told), 1)
	c.Set(pool, []model.HealthCheck{check}, []netip.Addr{here}) // nothing is other than before
	if up, known := c.State(target); !known || !up.Healthy || up.Since.Before(down.Since) {
		t.Errorf("after opening again: %+v, known %t", up, known)
	}
	c.Set(pool, nil, nil)
	if d := next(t, told); len(d.values) != 0 {
		t.Errorf("of a member that is gone: %+v", d)
	}
	if _, known := c.State(target); known {
		t.Error("something is known of a member that is gone")
	}
}

func TestCheckerBoundsConcurrency(t *testing.T) {
	var now, most atomic.Int32
	entered, release := make(chan struct{}, 4), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		select {
		case entered <- struct{}{}:
		default:
		}
		<-release
	}))
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	c, told, _ := start(t, 4)
	var checks []model.HealthCheck
	for i := range 20 {
		checks = append(checks, model.HealthCheck{
			Name: string(rune('a' + i)), Protocol: model.HTTP, Port: at.Port(), Path: "/", Status: [2]int{200, 200},
			Interval: 10 * time.Millisecond, UnhealthyInterval: time.Millisecond, Timeout: time.Minute, Up: 1, Down: 1,
		})
	}
	c.Set(model.Ref{Name: "web"}, checks, []netip.Addr{at.Addr()})
	for range 4 { // until all slots are taken
		<-entered
	}
	close(release)
	seen := map[string]bool{}
	for len(seen) < len(checks) {
		d := next(t, told)
		if d.values[at.Addr()] != 1 {
			t.Fatalf("%+v", d)
		}
		seen[d.check] = true
	}
	if got := most.Load(); got > 4 {
		t.Errorf("%d checks at one time, 4 are allowed", got)
	}
}

func TestIntervalsAreJittered(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := jittered(10 * time.Second)
		least, most = min(least, d), max(most, d)
	}
	if least < 9*time.Second || most > 11*time.Second || most-least < time.Second {
		t.Errorf("from %v to %v", least, most)
	}
}

// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
)

// book explains one name.
type book struct{ pool.Explanation }

func (b book) Names() []string { return []string{b.Name} }

func (b book) Explain(name string) (pool.Explanation, bool) { return b.Explanation, name == b.Name }

func (b book) Pools(match string, limit int) ([]pool.Summary, int) {
	if limit < 1 || !strings.Contains(b.Name, match) {
		return []pool.Summary{}, 0
	}
	return []pool.Summary{{Name: b.Name, Members: len(b.Members)}}, 1
}

func TestServer(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "some_gauge"}))
	infinite := pool.Number(math.Inf(1))
	var ready atomic.Bool
	s, err := New(Options{
		Listen: "[::1]:0",
		Ready: func() error {
			if !ready.Load() {
				return errors.New("waiting for the first sync")
			}
			return nil
		},
		Gatherer: registry, Log: slog.New(slog.DiscardHandler),
		Explainer: book{pool.Explanation{Name: "a.test.", Members: []pool.Member{{State: "out", Value: &infinite}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/healthz", 200, "ok"},
		{"/readyz", 503, "waiting for the first sync"},
		{"/metrics", 200, "some_gauge 0"},
		{"/explain", 200, `"a.test."`},
		{"/explain?name=a.test.", 200, `"value": "+Inf"`},
		{"/explain?name=b.test.", 404, `no object has the name "b.test."`},
		{"/pools", 200, `"total": 1`},
		{"/pools?match=A.te", 200, `"pools": []`},
		{"/pools?limit=0", 400, `limit "0" is no number of names (hint: 1 to 10000)`},
		{"/", 200, "<title>dnsingress</title>"},
		{"/page/app.js", 200, "SPDX-License-Identifier"},
		{"/page/", 404, ""},
		{"/page/none.js", 404, ""},
		{"/elsewhere", 404, ""},
	} {
		if code, body := get(c.path); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.path, code, body, c.code, c.want)
		}
	}
	_, body := get("/explain?name=a.test.")
	var x pool.Explanation
	if err := json.Unmarshal([]byte(body), &x); err != nil || !math.IsInf(float64(*x.Members[0].Value), 1) {
		t.Errorf("read back as %+v: %v", x, err)
	}
	ready.Store(true)
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("/readyz when ready: %d", code)
	}
	if _, err := New(Options{Listen: s.Addr().String()}); err == nil || !strings.Contains(err.Error(), "hint:") {
		t.Errorf("a second server on the address: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

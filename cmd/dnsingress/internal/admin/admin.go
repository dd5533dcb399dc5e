// SPDX-License-Identifier: Apache-2.0

// Package admin is the HTTP side door for probes, metrics and questions:
//
//	/metrics       Prometheus metrics
//	/healthz       200 while the process lives
//	/readyz        200 from when names are answered until the process is told to end, else 503 and why
//	/explain       the names that objects have, as JSON
//	/explain?name= why that name is answered as it is, as JSON; 404 when no object has it
//	/pools         names with the state of their pools, as JSON; ?match= what they contain, ?limit= how many at most
//	/NAME          what else is told (Options.Lists), as JSON: /peers, /forwards, /registrations, /delegations
//	/              a read-only page that shows all this as it changes
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/handover"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
)

// Explainer knows why names are answered as they are.
type Explainer interface {
	Explain(name string) (pool.Explanation, bool)
	Names() []string
	Pools(match string, limit int) (list []pool.Summary, total int)
}

// Options of a Server.
type Options struct {
	Listen    string            // address and port
	Sockets   *handover.Sockets // outlive the process; nil: the listener ends with it
	Ready     func() error      // nil: ready, else why not; must not block
	Explainer Explainer
	// Lists are what else is told as JSON, by name: what the function returns is at GET /NAME.
	Lists    map[string]func() any
	Gatherer prometheus.Gatherer
	Log      *slog.Logger
}

// Server answers on the admin address.
type Server struct {
	options  Options
	listener net.Listener
}

// New listens on the address, so that one in use is known at once.
func New(o Options) (*Server, error) {
	l, err := o.Sockets.Listen(context.Background(), "admin", "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for administration: %w (hint: admin in the configuration)", err)
	}
	return &Server{o, l}, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving administration: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(end); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("ending administration: %w", err)
	}
	server.Close()
	return ctx.Err()
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.options.Gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.options.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /explain", s.explain)
	mux.HandleFunc("GET /pools", s.pools)
	for name, list := range s.options.Lists {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, list()) })
	}
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /page/{file}", servePage)
	return mux
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("name") {
		writeJSON(w, struct {
			Names []string `json:"names"`
		}{s.options.Explainer.Names()})
		return
	}
	name := r.URL.Query().Get("name")
	x, ok := s.options.Explainer.Explain(name)
	if !ok {
		http.Error(w, fmt.Sprintf("no object has the name %q", name), http.StatusNotFound)
		return
	}
	writeJSON(w, x)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // bounds are full of < and >
	// An error here is the client's going away.
	_ = e.Encode(v)
}

// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

// Store keeps the records. Its methods are called one at a time.
type Store interface {
	// Records are all that there are.
	Records(ctx context.Context) ([]*externaldns.Endpoint, error)
	// Apply makes the records as the changes say. Where it fails all may be given again: what is as it should be stays
	// untouched. Endpoints that publish does not report are kept without being published.
	Apply(ctx context.Context, changes *externaldns.Changes, publish func(*externaldns.Endpoint) bool) error
}

// Options of a Server.
type Options struct {
	Listen   string        // address and port for external-dns
	Admin    string        // address and port of /healthz and /metrics; empty: none
	Zones    []string      // at and below which may be written; at least one
	Timeout  time.Duration // of one request to the store as a whole; less than external-dns waits
	Store    Store
	Registry *prometheus.Registry
	Log      *slog.Logger
}

// Server answers external-dns.
type Server struct {
	options Options
	zones   zones
	metrics *metrics
	main    net.Listener
	admin   net.Listener // nil: none
	writing sync.Mutex   // held while records are read or written
}

// New listens on the addresses, so that one in use is known at once.
func New(o Options) (*Server, error) {
	s := &Server{options: o}
	var err error
	if s.zones, err = newZones(o.Zones); err != nil {
		return nil, err
	}
	if len(s.zones) == 0 {
		return nil, errors.New("no zone may be written")
	}
	if s.metrics, err = newMetrics(o.Registry); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	if s.main, err = net.Listen("tcp", o.Listen); err != nil {
		return nil, fmt.Errorf("listening for external-dns: %w (hint: --listen)", err)
	}
	if o.Admin != "" {
		if s.admin, err = net.Listen("tcp", o.Admin); err != nil {
			s.main.Close()
			return nil, fmt.Errorf("listening for probes and metrics: %w (hint: --admin)", err)
		}
	}
	return s, nil
}

// Addr is the address that external-dns is answered on.
func (s *Server) Addr() net.Addr { return s.main.Addr() }

// AdminAddr is that of probes and metrics; nil: there is none.
func (s *Server) AdminAddr() net.Addr {
	if s.admin == nil {
		return nil
	}
	return s.admin.Addr()
}

// Run serves until ctx ends, and lets a batch that is being written come to its end.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	serve := func(l net.Listener, h http.Handler, patience time.Duration) {
		server := &http.Server{
			Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute + s.options.Timeout, IdleTimeout: 5 * time.Minute,
			ErrorLog: slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
		}
		wait.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serving %s: %w", l.Addr(), err))
			}
		})
		wait.Go(func() {
			<-ctx.Done()
			end, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer stop()
			if err := server.Shutdown(end); err != nil {
				server.Close()
			}
		})
	}
	serve(s.main, s.handler(), s.options.Timeout+time.Second)
	if s.admin != nil {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /healthz", alive)
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{}))
		serve(s.admin, mux, time.Second)
	}
	wait.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

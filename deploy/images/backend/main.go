// SPDX-License-Identifier: Apache-2.0

// Command backend is the service that every experiment puts behind an ingress: an HTTP server
// query parameters size (bytes) and delay (a Go duration). An answer names the pod that gave it in the header
// X-Backend. A PUT of /slow?delay=300ms to the administrative address makes every request take that much
// longer from then on, until another says 0s.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/internal/cli"
)

func main() { os.Exit(cli.Main(command)) }

// options are the backend's flags.
type options struct {
	listen, admin string
	service       service
	linger, drain time.Duration
}

func command(_ io.Reader, _, stderr io.Writer) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "backend",
		Short: "Answer HTTP requests with a body of a given size after a given time",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := cli.Logger(stderr, "info")
			if err != nil {
				return err
			}
			return o.run(c.Context(), log)
		},
	}
	f := c.Flags()
	f.StringVar(&o.listen, "listen", "[::]:80", "address of the service")
	f.StringVar(&o.admin, "admin", "[::]:9100", "address of /metrics, /readyz and /slow")
	f.Int64Var(&o.service.size, "size", 1024, "bytes of a response body")
	f.DurationVar(&o.service.delay, "delay", 0, "time that a request takes")
	f.DurationVar(&o.linger, "linger", time.Second, "time between turning not ready and refusing connections, so that clients can leave")
	f.DurationVar(&o.drain, "drain", 5*time.Second, "longest wait for requests in flight at the end")
	return c
}

// run serves until ctx ends, then turns not ready, lingers, drains and returns.
func (o *options) run(ctx context.Context, log *slog.Logger) error {
	if o.service.size < 0 || o.service.size > maxSize || o.service.delay < 0 || o.service.delay > maxDelay {
		return cli.Misuse("--size %d --delay %s (hint: size is 0 to %d bytes, delay 0 to %s)", o.service.size, o.service.delay, int64(maxSize), maxDelay)
	}
	registry := prometheus.NewRegistry()
	slow := new(slowness)
	o.service.slow = slow
	o.service.name, _ = os.Hostname() // in Kubernetes the pod's name; without one, answers do not say who gave them
	ready := new(readiness)
	service := &http.Server{Handler: o.service.handler(registry), ReadHeaderTimeout: 10 * time.Second}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("GET /readyz", ready)
	mux.Handle("PUT /slow", slow)
	admin := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}

	failed := make(chan error, 2)
	for _, s := range []struct {
		server  *http.Server
		address string
	}{{service, o.listen}, {admin, o.admin}} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
		if err != nil {
			return errors.Join(fmt.Errorf("listening: %w", err), service.Close(), admin.Close())
		}
		go func() { failed <- s.server.Serve(l) }()
		log.Info("listening", "address", l.Addr().String())
	}
	ready.set(true)

	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("serving: %w", err), service.Close(), admin.Close())
	case <-ctx.Done():
	}
	ready.set(false)
	log.Info("draining", "linger", o.linger, "drain", o.drain)
	time.Sleep(o.linger)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.drain)
	defer cancel()
	return errors.Join(service.Shutdown(end), admin.Close())
}

// SPDX-License-Identifier: Apache-2.0

// Command backend is the service that every experiment puts behind an ingress: an HTTP server
// query parameters size (bytes) and delay (a Go duration). An answer names the pod that gave it in the header
// X-Backend. A PUT of /slow?delay=300ms to the administrative address makes every request take that much
// longer from then on, until another says 0s.
package main

import (
	"context"
	"crypto/tls"
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
	tls           struct{ listen, cert, key string } // a second listener; none without an address
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
	f.StringVar(&o.tls.listen, "tls", "", "address of the service with TLS (default: none)")
	f.StringVar(&o.tls.cert, "tls-cert", "", "PEM file with the certificate")
	f.StringVar(&o.tls.key, "tls-key", "", "PEM file with its key")
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
	secure, err := o.secure()
	if err != nil {
		return err
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

	listeners := []listener{{service, o.listen, nil}, {admin, o.admin, nil}}
	if secure != nil {
		listeners = append(listeners, listener{service, o.tls.listen, secure})
	}
	failed := make(chan error, len(listeners))
	for _, at := range listeners {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.address)
		if err != nil {
			return errors.Join(fmt.Errorf("listening: %w", err), service.Close(), admin.Close())
		}
		log.Info("listening", "address", l.Addr().String(), "tls", at.tls != nil)
		if at.tls != nil {
			l = tls.NewListener(l, at.tls)
		}
		go func() { failed <- at.server.Serve(l) }()
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

// listener is an address of a server, with TLS if that is set.
type listener struct {
	server  *http.Server
	address string
	tls     *tls.Config
}

// secure returns how TLS is spoken; nil if it is not.
func (o *options) secure() (*tls.Config, error) {
	if o.tls.listen == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(o.tls.cert, o.tls.key)
	if err != nil {
		return nil, cli.Misuse("--tls %s: reading the certificate: %w (hint: --tls-cert FILE --tls-key FILE)", o.tls.listen, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}, nil
}

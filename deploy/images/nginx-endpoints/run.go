// SPDX-License-Identifier: Apache-2.0

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
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// options are the command's flags.
type options struct {
	service        string // whose endpoints answer for every host that no other service has
	port           string // name; empty: the only one
	metrics, nginx string
	settings       settings
	quiet, longest time.Duration
	reload, drain  time.Duration
}

// connect finds the API server that the kubeconfig names, or that runs this pod.
func connect(kubeconfig string) (*rest.Config, error) {
	config, err := rest.InClusterConfig()
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	return config, nil
}

// serve runs nginx in front of the endpoints until ctx ends or nginx does.
func serve(ctx context.Context, o options, source cache.ListerWatcher, log *slog.Logger, stderr io.Writer) error {
	watched, err := follow(ctx, source, o.port)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.settings.Dir, 0o755); err != nil {
		return fmt.Errorf("making nginx's directory: %w", err)
	}
	c := &controller{o: o, log: log, watched: watched}
	if err := c.write(); err != nil {
		return err
	}
	if c.nginx, err = start(o.nginx, o.settings, stderr); err != nil {
		return err
	}
	return errors.Join(c.run(ctx), c.nginx.stop(o.drain))
}

// controller keeps nginx's configuration equal to the ready endpoints.
type controller struct {
	o        options
	log      *slog.Logger
	watched  *endpoints
	nginx    *process
	counters counters

	services []upstream  // of the configuration written last
	version  int         // of the same
	ready    atomic.Bool // nginx serves it
}

// run answers for metrics and follows the endpoints until ctx ends (nil) or nginx does (an error).
func (c *controller) run(ctx context.Context) error {
	registry := prometheus.NewRegistry()
	c.counters = newCounters(registry, c.nginx)
	listener, err := net.Listen("tcp", c.o.metrics)
	if err != nil {
		return fmt.Errorf("listening for metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !c.ready.Load() {
			http.Error(w, "nginx does not serve the newest configuration", http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends by Close
	defer server.Close()

	if err := c.await(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.nginx.ended:
			return fmt.Errorf("nginx ended: %w", c.nginx.err)
		case <-c.watched.changed:
			if err := c.update(ctx); ignoreEnd(ctx, err) != nil {
				c.log.Error("reload", "err", err) // nginx goes on with the configuration it has
				c.watched.notify()
			}
		}
	}
}

// ignoreEnd returns nil for an error that only says that ctx ended.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// update waits until changes pause, and reloads nginx if the servers are others than before.
func (c *controller) update(ctx context.Context) error {
	longest := time.After(c.o.longest)
	for settled := false; !settled; {
		select {
		case <-ctx.Done():
			return nil
		case <-c.watched.changed:
		case <-time.After(c.o.quiet):
			settled = true
		case <-longest:
			settled = true
		}
	}
	services, err := c.watched.services(c.o.service)
	if err != nil {
		return err
	}
	if slices.EqualFunc(services, c.services, upstream.equal) && c.ready.Load() {
		return nil
	}
	err = c.write()
	if err == nil {
		err = c.nginx.reload()
	}
	if err == nil {
		err = c.await(ctx)
	}
	if err != nil {
		c.ready.Store(false)
		c.counters.reloads.WithLabelValues("failed").Inc()
		return err
	}
	c.counters.reloads.WithLabelValues("done").Inc()
	c.log.Info("reloaded", "version", c.version, "services", len(c.services), "servers", c.services[0].Servers)
	return nil
}

// write renders the configuration of the endpoints as they are now.
func (c *controller) write() error {
	services, err := c.watched.services(c.o.service)
	if err != nil {
		return err
	}
	c.version++
	c.services = services
	text, err := render(c.o.settings, services, c.version)
	if err != nil {
		return fmt.Errorf("rendering nginx.conf: %w", err)
	}
	if err := os.WriteFile(c.o.settings.file(), text, 0o644); err != nil {
		return fmt.Errorf("writing nginx.conf: %w", err)
	}
	return nil
}

// await waits until nginx serves what was written.
func (c *controller) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.reload)
	defer cancel()
	if err := c.nginx.serving(ctx, c.version); err != nil {
		return err
	}
	c.ready.Store(true)
	c.counters.endpoints.Set(float64(len(c.services[0].Servers)))
	return nil
}

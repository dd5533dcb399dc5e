// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/garbage"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/handover"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/hugepage"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zonefile"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
)

func serveCommand(s streams) *cobra.Command {
	var files []string
	var metrics, level string
	var zones zoneFlags
	var options dnsOptions
	var keys signingFlags
	var transfers transferFlags
	var where locationFlags
	c := &cobra.Command{
		Use:   "serve --zone-file FILE --listen ADDRESS",
		Short: "Answer DNS from zone files, with no cluster",
		Long: `Answer DNS over UDP and TCP from zone files, with no cluster and no configuration.

Each file holds one zone, whose origin is the owner of its SOA. A file that changes is
read again; if it has errors they are logged and the zone stays as it was. SIGHUP reads
all files again and asks the primaries. A zone can also come from other servers (--secondary), and others may
have the zones (--allow-transfer) and be told when they change (--notify). SIGUSR2 starts the program again and hands the sockets over to it, so
that an upgrade loses no query; sockets of a service manager (LISTEN_FDS) are taken over
likewise. Only the addresses given are opened.`,
		Example: `  dnsingress serve --zone-file example.org.zone --listen [::]:53 --listen 192.0.2.1:53`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := cli.Logger(s.err, level)
			if err != nil {
				return err
			}
			if len(files)+len(transfers.secondaries) == 0 || len(options.listen) == 0 {
				return cli.Misuse("serve needs --zone-file or --secondary, and --listen (hint: dnsingress serve --zone-file FILE --listen [::1]:5300)")
			}
			if err := options.check(); err != nil {
				return err
			}
			exchanges, err := transfers.options()
			if err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			sockets, err := handover.Inherit()
			if err != nil {
				return err
			}
			garbage.Seldom()
			catalog := new(zone.Catalog)
			signing, err := keys.load(log)
			if err != nil {
				return err
			}
			followers, err := loadAll(catalog, files, zones, signing, log)
			if err != nil {
				return err
			}
			registry := prometheus.NewRegistry()
			signers, err := signing.follow(catalog, registry)
			if err != nil {
				return err
			}
			locations, err := where.load(registry, log)
			if err != nil {
				return err
			}
			var dns *server.Server
			exchanges.Answering, exchanges.Replaced = func() <-chan struct{} { return dns.Ready() }, handover.ErrReplaced
			exchanges.GiveWay = func() { dns.GiveWay() }
			if sockets.Inherited() {
				exchanges.Beside = drainTime
			}
			exchange, err := newTransfers(exchanges, catalog, signing, registry, log)
			if err != nil {
				return err
			}
			var origins []string
			for _, z := range catalog.Zones() {
				origins = append(origins, z.Origin())
			}
			if err := signing.unused(origins); err != nil {
				return err
			}
			config := options.config()
			config.Catalog, config.Transfer, config.Registerer, config.Log, config.Sockets = catalog, exchange, registry, log, sockets
			config.Locations = locations.Table()
			if sockets.Inherited() { // the process before answers in the meantime
				config.When = available(catalog, transfers.origins())
			}
			dns = server.New(config)
			parts := []func(context.Context) error{
				dns.Run,
				exchange.Run,
				locations.Run,
				func(ctx context.Context) error { return announce(ctx, s, dns, sockets, log) },
				func(ctx context.Context) error { return refresh(ctx, hangup, exchange) },
			}
			parts = append(append(parts, followers...), signers...)
			if metrics != "" {
				registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
				l, err := sockets.Listen(cmd.Context(), "metrics", "tcp", metrics)
				if err != nil {
					return fmt.Errorf("listening for metrics: %w", err)
				}
				parts = append(parts, func(ctx context.Context) error { return serveMetrics(ctx, s, l, registry) })
			}
			if err := together(cmd.Context(), parts); !errors.Is(err, handover.ErrReplaced) {
				return err
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&files, "zone-file", nil, "zone `FILE` in master-file format (repeatable)")
	options.flags(c.Flags())
	transfers.add(c.Flags())
	where.add(c.Flags())
	zones.add(c.Flags())
	c.Flags().StringVar(&metrics, "metrics", "", "`ADDRESS` for Prometheus metrics over HTTP (default: none)")
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	keys.add(c)
	return c
}

// loadAll publishes the zones of all files and returns what follows their changes.
func loadAll(catalog *zone.Catalog, files []string, zones zoneFlags, signing *signing, log *slog.Logger) ([]func(context.Context) error, error) {
	var followers []func(context.Context) error
	from := map[string]string{}
	for _, path := range files {
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		begin := time.Now()
		z, read, err := zones.load(path)
		if err != nil {
			return nil, err
		}
		if other, double := from[z.Origin()]; double {
			return nil, cli.Misuse("%s and %s both hold the zone %s", other, path, z.Origin())
		}
		from[z.Origin()] = path
		if z, err = signing.sign(z); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		catalog.Publish(z)
		log.Info("loaded a zone", "zone", z.Origin(), "serial", z.Serial(), "names", z.Len(), "path", path, "took", time.Since(begin).Round(time.Millisecond))
		f := &zonefile.Follower{Path: path, Load: zones.load, Log: log, Publish: replaceZone(catalog, z.Origin(), path, signing, log)}
		followers = append(followers, func(ctx context.Context) error { return follow(ctx, f, read, hangup) })
	}
	settle(log)
	return followers, nil
}

// settle gives back what reading a zone has left behind, and makes what stays quick to reach.
func settle(log *slog.Logger) {
	debug.FreeOSMemory()
	octets, err := hugepage.Collapse()
	if err != nil {
		log.Debug("the heap stays on small pages", "error", err)
		return
	}
	log.Debug("put the heap on huge pages", "octets", octets)
}

// replaceZone returns what publishes another reading of the file that held the zone origin.
func replaceZone(catalog *zone.Catalog, origin, path string, signing *signing, log *slog.Logger) func(*zone.Zone) {
	return func(z *zone.Zone) {
		if z.Origin() != origin {
			log.Error("keeping the old zone", "path", path, "error", fmt.Sprintf("the file is now of zone %s, not %s", z.Origin(), origin))
			return
		}
		if old := catalog.Zone(origin); old != nil && int32(z.Serial()-old.Serial()) <= 0 {
			log.Warn("the zone changed but its serial did not move forward", "zone", origin, "serial", z.Serial())
		}
		z, err := signing.sign(z)
		if err != nil {
			log.Error("keeping the old zone", "path", path, "error", err)
			return
		}
		catalog.Publish(z)
		settle(log)
		log.Info("loaded a zone", "zone", origin, "serial", z.Serial(), "names", z.Len(), "path", path)
	}
}

// follow reads a file again when it changes and on SIGHUP.
func follow(ctx context.Context, f *zonefile.Follower, read files.Seen, hangup chan os.Signal) error {
	defer signal.Stop(hangup)
	again := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
			}
			select {
			case <-ctx.Done():
			case again <- struct{}{}:
			}
		}
	}()
	return f.Run(ctx, read, again)
}

// refresh asks the primaries of all zones that have some on SIGHUP.
func refresh(ctx context.Context, hangup <-chan os.Signal, exchange *transfer.Service) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			exchange.Refresh()
		}
	}
}

// restartTime is how long a new process may take to load its zones before it counts as broken.
const restartTime = 5 * time.Minute

// drainTime is how long a process whose place was taken may go on answering.
const drainTime = 10 * time.Second

// available gives what is closed once the catalog has data of the zones that come from primaries.
func available(catalog *zone.Catalog, origins []string) <-chan struct{} {
	all := make(chan struct{})
	var once sync.Once
	look := func() {
		for _, origin := range origins {
			if z := catalog.Zone(origin); z == nil || !z.Available() {
				return
			}
		}
		once.Do(func() { close(all) })
	}
	catalog.Follow(func(_, _ *zone.Zone) { look() })
	look()
	return all
}

// announce prints the addresses once they are open: with port 0 nobody else knows them. Then the process whose place
// this one takes, if there is one, may end, and this one may be replaced by another.
func announce(ctx context.Context, s streams, dns *server.Server, sockets *handover.Sockets, log *slog.Logger) error {
	select {
	case <-ctx.Done():
		return nil
	case <-dns.Ready():
	}
	for _, a := range dns.Addrs() {
		fmt.Fprintf(s.out, "listening on %s (UDP and TCP)\n", a)
	}
	for _, a := range dns.TLSAddrs() {
		fmt.Fprintf(s.out, "listening on %s (TLS)\n", a)
	}
	sockets.Ready()
	return sockets.Follow(ctx, restartTime, log)
}

func serveMetrics(ctx context.Context, s streams, l net.Listener, registry *prometheus.Registry) error {
	fmt.Fprintf(s.out, "metrics on http://%s/metrics\n", l.Addr())
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute}
	context.AfterFunc(ctx, func() { web.Close() })
	if err := web.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}

// together runs the parts until ctx ends or one fails, and returns its error when all have ended.
func together(ctx context.Context, parts []func(context.Context) error) error {
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wait sync.WaitGroup
	for _, part := range parts {
		wait.Go(func() {
			if err := part(work); err != nil {
				stop(err)
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil // asked to end
	}
	return context.Cause(work)
}

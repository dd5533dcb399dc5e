// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/admin"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/alias"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/garbage"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/handover"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/health"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/location"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/peer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func runCommand(s streams) *cobra.Command {
	var path, level string
	var target config.ServiceTarget
	var dry bool
	c := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Publish what a cluster's objects name and answer for it",
		Long: `Publish what a cluster's objects name and answer for it.

A Service with a hostname annotation has its ready pods' addresses answered under
that name; annotations or a SteeringPolicy say which of them, how often and for how long.
So have Ingresses, Gateways and routes, DNSEndpoints, DNSRecords and DNSPolicies what they
publish; all that in the zones of the configuration and of DNSZones, from which DNSDelegations
refer to others. A directory of manifests (kubernetes.files) stands in for a cluster. What a
file would publish: dnsingress records.

SIGTERM: /readyz says no, answers go on for lameDuck, then the process ends.
SIGUSR2 starts the program again and hands the sockets over to it once it is ready.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := cli.Logger(s.err, level)
			if err != nil {
				return err
			}
			c, err := config.Load(path)
			if err != nil {
				return err
			}
			if target != "" {
				c.Kubernetes.ServiceTarget = target
			}
			if err := checkTranslation(c.Kubernetes); err != nil {
				return err
			}
			if _, err := configuredSigning(c, log); err != nil {
				return err
			}
			if dry {
				if len(c.Zones) == 0 {
					fmt.Fprintf(s.out, "would answer for DNSZones alone on %s\n", strings.Join(c.Listen, ", "))
				}
				for _, z := range c.Zones {
					fmt.Fprintf(s.out, "would answer for %s on %s\n", z.Origin, strings.Join(c.Listen, ", "))
				}
				for _, z := range c.Forward {
					fmt.Fprintf(s.out, "would forward %s to %v (%s)\n", z.Zone, z.To, z.Policy)
				}
				for _, p := range c.Peers.Clusters {
					fmt.Fprintf(s.out, "would exchange pools as %s with %s\n", c.Cluster.Name, p.Name)
				}
				return nil
			}
			defer ignoreHangup(log)()
			garbage.Seldom()
			d, err := assemble(c, log)
			if err != nil {
				return err
			}
			return d.run(cmd.Context())
		},
	}
	c.Flags().StringVar(&path, "config", "/etc/dnsingress/config.yaml", "configuration `FILE`")
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar((*string)(&target), "service-target", "", "what Services are answered with: pods, or status (default: kubernetes.serviceTarget)")
	c.Flags().BoolVar(&dry, "dry-run", false, "check the configuration, say what would be served, and end")
	return c
}

// daemon is the whole of `dnsingress run`, wired.
type daemon struct {
	config      *config.Config
	log         *slog.Logger
	engine      *pool.Engine
	source      source
	evaluator   *promql.Evaluator
	health      *health.Checker
	aliases     *alias.Resolver
	transfers   *transfer.Service
	peers       *peer.Service // nil: there are none
	forwards    *forward.Service
	locations   *location.Follower
	dns         *server.Server
	admin       *admin.Server
	sockets     *handover.Sockets
	delegations *delegations
	signers     []func(context.Context) error
	ending      chan struct{} // closed on SIGTERM
}

func assemble(c *config.Config, log *slog.Logger) (*daemon, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), configInfo(c))
	d := &daemon{config: c, log: log, ending: make(chan struct{})}
	catalog := new(zone.Catalog)
	var err error
	if d.sockets, err = handover.Inherit(); err != nil {
		return nil, err
	}
	signing, err := configuredSigning(c, log)
	if err != nil {
		return nil, err
	}
	if d.engine, err = pool.New(pool.Options{Config: c, Catalog: catalog, Registerer: registry, Sign: signing.sign, Beside: d.sockets.Inherited(), Log: log}); err != nil {
		return nil, err
	}
	if d.signers, err = signing.follow(catalog, registry); err != nil {
		return nil, err
	}
	metrics, err := promql.NewClient(c.Prometheus, registry, log)
	if err != nil {
		return nil, err
	}
	d.evaluator, err = promql.New(promql.Options{
		Client: metrics, Delay: c.Prometheus.Delay, Patience: c.Prometheus.FirstPass, Deliver: d.engine.Deliver, Registerer: registry, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if err := d.connectSource(c, log); err != nil {
		return nil, err
	}
	if d.health, err = health.New(health.Options{Deliver: d.engine.Checked, Registerer: registry, Log: log}); err != nil {
		return nil, err
	}
	d.engine.ConnectProber(d.health)
	if d.aliases, err = newAliases(c, d.engine, registry, log); err != nil {
		return nil, err
	}
	d.engine.ConnectFollower(d.aliases)
	transfers := transfer.Options{
		Catalog: catalog, Keys: c.Keys, Policies: c.Policies(), Registerer: registry, Log: log,
		Answering: func() <-chan struct{} { return d.dns.Ready() }, GiveWay: func() { d.dns.GiveWay() },
	}
	if d.sockets.Inherited() {
		transfers.Beside = drainTime
	}
	if d.peers, err = newPeers(c, d.engine, &transfers, registry, log); err != nil {
		return nil, err
	}
	if d.delegations, err = newDelegations(c, d.engine, catalog, signing, &transfers, registry, log); err != nil {
		return nil, err
	}
	d.transfers, err = transfer.New(transfers)
	if err != nil {
		return nil, err
	}
	if d.locations, err = configuredLocations(c, registry, log); err != nil {
		return nil, err
	}
	if d.forwards, err = forward.New(forward.Options{Zones: c.Forwards(), Registerer: registry, Log: log}); err != nil {
		return nil, err
	}
	dns := serverConfig(c)
	if len(c.Forward) > 0 {
		dns.Forward = d.forwards
	}
	dns.Locations = d.locations.Table()
	dns.Catalog, dns.Transfer, dns.Registerer, dns.Log, dns.Sockets = catalog, d.transfers, registry, log, d.sockets
	if d.sockets.Inherited() { // the process before answers in the meantime
		dns.When = d.engine.Ready()
	}
	d.dns = server.New(dns)
	lists := map[string]func() any{
		"registrations": d.delegations.list,
		"delegations":   d.delegations.brief,
		"forwards":      func() any { return d.forwards.Status() },
		"peers":         func() any { return d.peers.Status() },
	}
	d.admin, err = admin.New(admin.Options{Listen: c.Admin, Sockets: d.sockets, Ready: d.ready, Explainer: d.engine, Lists: lists, Gatherer: registry, Log: log})
	return d, err
}

// aliasTimeout bounds one question for a host name outside to one resolver.
const aliasTimeout = 3 * time.Second

// newAliases makes the one that finds the addresses of host names outside.
func newAliases(c *config.Config, engine *pool.Engine, registry *prometheus.Registry, log *slog.Logger) (*alias.Resolver, error) {
	servers, err := alias.Configured(c.Kubernetes.Resolvers, "/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	return alias.New(alias.Options{Servers: servers, Timeout: aliasTimeout, Deliver: engine.Followed, Registerer: registry, Log: log})
}

// configInfo is a constant metric that shows the configuration that is in force.
func configInfo(c *config.Config) prometheus.Collector {
	var origins, urls []string
	for _, z := range c.Zones {
		origins = append(origins, z.Origin)
	}
	for _, raw := range c.Prometheus.URLs {
		if u, err := url.Parse(raw); err == nil {
			urls = append(urls, u.Redacted()) // anybody may read metrics
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dnsingress_config_info", Help: "1; the labels show the configuration and the version.",
		ConstLabels: prometheus.Labels{
			"version": cli.Version(), "zones": strings.Join(origins, ","), "prometheus": strings.Join(urls, ","),
			"interval": c.Prometheus.Interval.String(), "staleness": c.Prometheus.Staleness.String(),
		},
	})
	g.Set(1)
	return g
}

// ready says why the process should get no queries, or nil. Once ready it stays so until SIGTERM: a Prometheus or
// an API server that goes away later leaves the last good answers.
func (d *daemon) ready() error {
	select {
	case <-d.ending:
		return errors.New("ending")
	default:
	}
	select {
	case <-d.engine.Ready():
	default:
		return errors.New("waiting for the first sync with Kubernetes and the first metrics")
	}
	select {
	case <-d.engine.Serving():
	default:
		return errors.New("waiting for a zone: the configuration has none, and no DNSZone is accepted yet")
	}
	if waiting := d.engine.Waiting(); len(waiting) > 0 {
		return fmt.Errorf("waiting for leaves to register with %s: nothing is known of them from before", strings.Join(waiting, ", "))
	}
	select {
	case <-d.dns.Ready():
		return nil
	default:
		return errors.New("waiting for the DNS sockets")
	}
}

// administrate answers on the admin address. One that it shares with the process before is that one's as long as it
// alone is ready.
func (d *daemon) administrate(ctx context.Context) error {
	if d.sockets.Inherited() {
		select {
		case <-ctx.Done():
			return nil
		case <-d.dns.Ready():
		}
	}
	return d.admin.Run(ctx)
}

// trim gives back to the operating system, once all is published, what only the start needed: lists from the API server
// and zones in the making. The collector alone would keep it for as long as nothing else happens.
func (d *daemon) trim(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-d.engine.Ready():
		debug.FreeOSMemory()
	}
	return nil
}

// restart takes the place of the process before, once there is as much to answer with, and later gives way to another.
func (d *daemon) restart(ctx context.Context) error {
	for _, ready := range []<-chan struct{}{d.engine.Ready(), d.dns.Ready()} {
		select {
		case <-ctx.Done():
			return nil
		case <-ready:
		}
	}
	d.sockets.Ready()
	return d.sockets.Follow(ctx, restartTime, d.log)
}

// run works until ctx ends and the lame-duck time after it, or until a part fails.
func (d *daemon) run(ctx context.Context) error {
	// The parts outlive ctx by the lame-duck time.
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var wait sync.WaitGroup
	for _, part := range append([]func(context.Context) error{d.administrate, d.dns.Run, d.engine.Run, d.health.Run, d.aliases.Run, d.transfers.Run, d.forwards.Run, d.peers.Run, d.locations.Run, d.source.Run, d.delegations.run, d.delegations.comparer.Run, d.trim}, d.signers...) {
		wait.Go(func() {
			if err := part(work); err != nil && work.Err() == nil {
				stop(err)
			}
		})
	}
	// Once it is to end, no other takes its place.
	staying, leave := context.WithCancel(work)
	defer context.AfterFunc(ctx, leave)()
	defer leave()
	wait.Go(func() {
		if err := d.delegations.register(staying, d.dns.Ready()); err != nil {
			stop(err)
		}
	})
	wait.Go(func() {
		if err := d.restart(staying); err != nil {
			stop(err)
		}
	})
	defer d.evaluator.Wait()
	defer wait.Wait()

	select {
	case <-work.Done():
		return failure(work)
	case <-ctx.Done():
	}
	close(d.ending)
	d.log.Info("ending", "lameDuck", *d.config.LameDuck)
	select {
	case <-work.Done():
		return failure(work)
	case <-time.After(*d.config.LameDuck):
	}
	stop(context.Canceled)
	return nil
}

// failure is why the work has ended by itself; nil where another process goes on with it.
func failure(work context.Context) error {
	if err := context.Cause(work); !errors.Is(err, handover.ErrReplaced) {
		return err
	}
	return nil
}

// ignoreHangup keeps the process there when SIGHUP, on which others read their files again, comes.
func ignoreHangup(log *slog.Logger) (stop func()) {
	hangup, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-hangup:
				log.Info("SIGHUP reads nothing again here (hint: SIGUSR2 starts again with the configuration as it is now)")
			}
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(done)
	}
}

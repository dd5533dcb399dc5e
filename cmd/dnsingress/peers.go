// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/peer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
)

// newPeers makes the exchange with other clusters, nil where there are none, and has the transfers carry it.
func newPeers(c *config.Config, engine *pool.Engine, transfers *transfer.Options, registry prometheus.Registerer, log *slog.Logger) (*peer.Service, error) {
	if !c.Peers.Enabled() {
		return nil, nil
	}
	identity, err := clusterIdentity(c, log)
	if err != nil {
		return nil, err
	}
	p, err := peer.New(peer.Options{
		Name: c.Cluster.Name, Zone: c.Peers.Zone, Lease: c.Peers.Lease, Publish: c.Peers.Publish, Clusters: c.Peers.Clusters, Keys: c.Keys,
		Identity: identity, Sink: engine, Registerer: registry, Log: log,
	})
	if err != nil {
		return nil, err
	}
	engine.ConnectSharer(p)
	transfers.Private, transfers.Listeners, transfers.Denied = p.Private(), p.Listeners(), p.Denied
	return p, nil
}

// clusterIdentity finds what tells this cluster from another of the same name.
func clusterIdentity(c *config.Config, log *slog.Logger) (func(context.Context) (string, error), error) {
	id := c.Cluster.Identity
	if id == "" && c.Kubernetes.Files == "" {
		return func(ctx context.Context) (string, error) { return kube.Identity(ctx, c.Kubernetes.Kubeconfig, log) }, nil
	}
	if id == "" {
		var err error
		if id, err = peer.Identity(c.State); err != nil {
			return nil, err
		}
	}
	return func(context.Context) (string, error) { return id, nil }, nil
}

func peersCommand(s streams) *cobra.Command {
	return listCommand(s, &cobra.Command{
		Use:   "peers",
		Short: "Say how the clusters stand that exchange their pools with this one",
		Long: `Say how the clusters stand that exchange their pools with this one: whose lease holds
and since when, when each server was last heard, what was refused and why.

The same as JSON is at /peers of the admin address. What a name is answered with of whom: dnsingress explain.`,
		Example: `  dnsingress peers --admin http://[fd6e:7369:0:1::11]:9153
  dnsingress peers -o json`,
	}, "peers", printPeers)
}

// printPeers prints x as people read it.
func printPeers(w io.Writer, x peer.Status, now time.Time) error {
	if x.Cluster == "" {
		fmt.Fprintln(w, "this cluster has no peers (hint: peers in the configuration)")
		return nil
	}
	serial := "not published yet"
	if x.Serial > 0 {
		serial = "serial " + strconv.FormatUint(uint64(x.Serial), 10)
	}
	fmt.Fprintf(w, "cluster %s  identity %s  zone %s  %s  hosts %d  lease %gs\n", x.Cluster, orDash(x.Identity), x.Zone, serial, x.Hosts, x.Lease)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nPEER\tSTATE\tFOR\tHEARD\tHOSTS\tMEMBERS\tREFUSED\tIDENTITY")
	for _, p := range x.Peers {
		state, heard := "down", "never"
		if p.Up {
			state = "up"
		}
		if p.Heard != nil {
			heard = ago(now, *p.Heard)
		}
		fmt.Fprintf(t, "%s\t%s\t%v\t%s\t%d\t%d\t%d\t%s\n", p.Name, state, now.Sub(p.Since).Round(time.Second), heard, p.Hosts, p.Members, len(p.Refused)+p.More, orDash(p.Identity))
	}
	fmt.Fprintln(t, "\nPEER\tSERVER\tCOUNTS\tLEASE\tSERIAL\tERROR")
	for _, p := range x.Peers {
		for _, s := range p.Servers {
			fmt.Fprintf(t, "%s\t%s\t%t\t%.1fs\t%d\t%s\n", p.Name, s.Address, s.Counts, s.Left, s.Serial, orDash(s.Error))
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	for _, p := range x.Peers {
		if p.Why != "" {
			fmt.Fprintf(w, "%s is down: %s\n", p.Name, p.Why)
		}
		if len(p.Refused) > 0 {
			more := ""
			if p.More > 0 {
				more = fmt.Sprintf(" and %d more", p.More)
			}
			fmt.Fprintf(w, "%s was not granted: %s%s (hint: peers.clusters[].hosts)\n", p.Name, strings.Join(p.Refused, ", "), more)
		}
	}
	for _, d := range x.Denied {
		fmt.Fprintf(w, "refused %s, %s: key %s, %d times, last %s\n", d.From, d.Why, orDash(d.Key), d.Count, ago(now, d.Last))
	}
	return nil
}

// printPeer prints how a cluster stands that has members for a name.
func printPeer(w io.Writer, p pool.Peer, now time.Time) {
	if p.Up {
		fmt.Fprintf(w, "peer %s is up for %v\n", p.Name, now.Sub(p.Since).Round(time.Second))
		return
	}
	heard := "never heard"
	if p.Heard != nil {
		heard = "last heard " + ago(now, *p.Heard)
	}
	fmt.Fprintf(w, "peer %s is down for %v, %s: %s\n", p.Name, now.Sub(p.Since).Round(time.Second), heard, orDash(p.Why))
}

// ago says how long ago something was.
func ago(now, then time.Time) string {
	return max(0, now.Sub(then)).Round(100*time.Millisecond).String() + " ago"
}

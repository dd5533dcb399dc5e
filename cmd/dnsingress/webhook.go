// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/webhook"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func webhookCommand(s streams) *cobra.Command {
	var level string
	var dry bool
	var o webhook.Options
	var store kube.EndpointStoreOptions
	c := &cobra.Command{
		Use:   "webhook --zone ZONE...",
		Short: "Let external-dns write records: a provider for it",
		Long: `Let external-dns write records: a provider for it.

This runs beside external-dns, in its pod, which is told --provider=webhook. What it writes
is kept as DNSEndpoints in one namespace, one a name, with the label
dnsingress.dev/written-by=webhook; every dnsingress that watches the cluster publishes them
as it does others. It needs list, create, update and delete of dnsendpoints in that
namespace: deploy/dnsingress/webhook has the Role and the container.

Whoever reaches --listen writes records: keep it on a loopback address.
Probes and metrics are at --admin: /healthz and /metrics.`,
		Example: `  dnsingress webhook --zone apps.example.org
  external-dns --provider=webhook --webhook-provider-url=http://[::1]:8888 --source=service`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkWebhook(o, store.Namespace); err != nil {
				return err
			}
			log, err := cli.Logger(s.err, level)
			if err != nil {
				return err
			}
			o.Log, store.Log = log, log
			if dry {
				store.Dry = s.out
			}
			if a, err := netip.ParseAddrPort(o.Listen); err == nil && !a.Addr().IsLoopback() {
				log.Warn("whoever reaches this address writes records", "listen", o.Listen)
			}
			kept, err := kube.NewEndpointStore(store)
			if err != nil {
				return err
			}
			o.Store, o.Registry = kept, prometheus.NewRegistry()
			o.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
			server, err := webhook.New(o)
			if err != nil {
				return err
			}
			log.Info("waiting for external-dns", "listen", server.Addr(), "zones", strings.Join(o.Zones, ","), "namespace", kept.Namespace(), "dryRun", dry)
			return server.Run(cmd.Context())
		},
	}
	c.Flags().StringVar(&o.Listen, "listen", "[::1]:8888", "`ADDRESS` and port for external-dns; 127.0.0.1:8888 where pods have no IPv6")
	c.Flags().StringVar(&o.Admin, "admin", "[::]:8080", "`ADDRESS` and port of /healthz and /metrics; empty: none")
	c.Flags().StringArrayVar(&o.Zones, "zone", nil, "`ZONE` at and below which external-dns may write (repeatable)")
	c.Flags().StringVar(&store.Namespace, "namespace", "", "where the DNSEndpoints are kept (default: the pod's own)")
	c.Flags().StringVar(&store.Kubeconfig, "kubeconfig", "", "`FILE` that says how to reach the API server (default: in-cluster, else the usual places)")
	c.Flags().DurationVar(&o.Timeout, "timeout", 10*time.Second, "a batch that takes longer goes on at external-dns's next interval; less than it waits (15s by default)")
	c.Flags().BoolVar(&dry, "dry-run", false, "have the API server judge what would be written, and print it")
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return c
}

// checkWebhook checks what flags say, all at once.
func checkWebhook(o webhook.Options, namespace string) error {
	var wrong []string
	if len(o.Zones) == 0 {
		wrong = append(wrong, "webhook needs --zone (hint: --zone apps.example.org, a zone that dnsingress answers for)")
	}
	for _, z := range o.Zones {
		if err := webhook.CheckZone(z); err != nil {
			wrong = append(wrong, "--zone "+err.Error())
		}
	}
	for _, f := range []struct{ flag, address, hint string }{{"--listen", o.Listen, "[::1]:8888"}, {"--admin", o.Admin, "[::]:8080"}} {
		if f.flag == "--admin" && f.address == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(f.address); err != nil || port == "" {
			wrong = append(wrong, fmt.Sprintf("%s %q is no address with a port (hint: %s)", f.flag, f.address, f.hint))
		}
	}
	if namespace != "" && !kube.NamespaceName(namespace) {
		wrong = append(wrong, fmt.Sprintf("--namespace %q cannot be one (hint: lower-case letters, digits and hyphens)", namespace))
	}
	if o.Timeout <= 0 {
		wrong = append(wrong, fmt.Sprintf("--timeout %v is no time to write in (hint: 10s)", o.Timeout))
	}
	if len(wrong) == 0 {
		return nil
	}
	return cli.Misuse("%s", strings.Join(wrong, "\n"))
}

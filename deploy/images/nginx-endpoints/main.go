// SPDX-License-Identifier: Apache-2.0

// Nginx-endpoints drives NGINX as an ingress for one Service: it is the parent of the nginx master process, follows
// the Service's EndpointSlices, renders nginx.conf with the ready endpoints as upstream servers, and reloads nginx.
//
// NGINX's own Kubernetes controllers cannot be built from what the Go module proxy serves (deploy/baselines/README.md),
// so this program stands in for their control loop. The data plane is the unmodified nginx, with the configuration
// that F5's kubernetes-ingress would generate by default (see config.go).
package main

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/internal/cli"
)

func main() { os.Exit(cli.Main(command)) }

func command(_ io.Reader, _, stderr io.Writer) *cobra.Command {
	var (
		o                           options
		service, kubeconfig, listen string
	)
	cmd := &cobra.Command{
		Use:   "nginx-endpoints --service NAMESPACE/NAME",
		Short: "Run nginx in front of the ready endpoints of a Service",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, err := netip.ParseAddrPort(listen)
			if err != nil {
				return cli.Misuse("parsing --listen %q: %w (hint: [::]:80)", listen, err)
			}
			o.settings.Listen = address
			if o.settings.Keepalive < 0 {
				return cli.Misuse("--upstream-keepalive %d (hint: 0 for none)", o.settings.Keepalive)
			}
			if b := o.settings.Balance; b != balanceRandomTwo && b != balanceLeast {
				return cli.Misuse("--balance %q (hint: %q or %q)", b, balanceRandomTwo, balanceLeast)
			}
			namespace, name, ok := strings.Cut(service, "/")
			if !ok || namespace == "" || name == "" {
				return cli.Misuse("parsing --service %q: it is no NAMESPACE/NAME", service)
			}
			config, err := connect(kubeconfig)
			if err != nil {
				return err
			}
			source, err := endpointSlices(config, namespace, name)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), o, source, slog.New(slog.NewTextHandler(stderr, nil)), stderr)
		},
	}
	f := cmd.Flags()
	f.StringVar(&service, "service", "", "the Service whose endpoints are served, `NAMESPACE/NAME`")
	f.StringVar(&o.port, "port", "", "`name` of the Service's port (default: its only port)")
	f.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: the pod's service account)")
	f.StringVar(&listen, "listen", "[::]:80", "where clients come, `ADDR:PORT`")
	f.StringVar(&o.metrics, "metrics", "[::]:9113", "where /metrics and /readyz are served, `ADDR:PORT`")
	f.StringVar(&o.nginx, "nginx", "/usr/sbin/nginx", "the nginx `program`")
	f.StringVar(&o.settings.Dir, "dir", "/var/lib/nginx", "`directory` of nginx.conf, the control socket and temporary files")
	f.StringVar(&o.settings.User, "user", "www-data", "`user` of the nginx workers")
	f.IntVar(&o.settings.Keepalive, "upstream-keepalive", 0, "idle upstream connections kept by each worker, `N`; 0 closes each after its request, as kubernetes-ingress does by default")
	f.StringVar(&o.settings.Balance, "balance", balanceRandomTwo, "`how` an endpoint is chosen: "+balanceRandomTwo+", or "+balanceLeast)
	f.DurationVar(&o.quiet, "quiet", 100*time.Millisecond, "reload when no endpoint has changed for this long")
	f.DurationVar(&o.longest, "longest", 500*time.Millisecond, "reload at the latest this long after a change")
	f.DurationVar(&o.reload, "reload-timeout", time.Minute, "how long a reload may take until the new configuration answers")
	f.DurationVar(&o.drain, "drain", time.Second, "how long open requests may take when stopping")
	return cmd
}

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
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dnsingress/dnsingress/internal/cli"
)

func main() { os.Exit(cli.Main(command)) }

func command(_ io.Reader, _, stderr io.Writer) *cobra.Command {
	var (
		o options
		f flags
	)
	cmd := &cobra.Command{
		Use:   "nginx-endpoints --service NAMESPACE/NAME",
		Short: "Run nginx in front of the ready endpoints of a Service",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(&o); err != nil {
				return err
			}
			namespace, name, ok := strings.Cut(f.service, "/")
			if !ok || namespace == "" || name == "" {
				return cli.Misuse("parsing --service %q: it is no NAMESPACE/NAME", f.service)
			}
			o.service = name
			if o.settings.Hosts != "" {
				name = "" // all of the namespace
			}
			config, err := connect(f.kubeconfig)
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
	f.register(cmd.Flags(), &o)
	return cmd
}

// flags are those of the command line that are not options as they stand.
type flags struct{ service, kubeconfig, listen, tls, buffers string }

func (g *flags) register(f *pflag.FlagSet, o *options) {
	f.StringVar(&g.service, "service", "", "the Service whose endpoints are served, `NAMESPACE/NAME`")
	f.StringVar(&o.settings.Hosts, "hosts", "", "serve the namespace's other Services too, each at the host <name>.`DOMAIN`")
	f.StringVar(&o.port, "port", "", "`name` of the Service's port (default: its only port)")
	f.StringVar(&g.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: the pod's service account)")
	f.StringVar(&g.listen, "listen", "[::]:80", "where clients come, `ADDR:PORT`")
	f.StringVar(&g.tls, "tls-listen", "", "where clients come with TLS, `ADDR:PORT` (default: nowhere)")
	f.StringVar(&o.settings.TLS.Cert, "tls-cert", "", "PEM `file` with the certificate")
	f.StringVar(&o.settings.TLS.Key, "tls-key", "", "PEM `file` with its key")
	f.StringVar(&o.metrics, "metrics", "[::]:9113", "where /metrics and /readyz are served, `ADDR:PORT`")
	f.StringVar(&o.nginx, "nginx", "/usr/sbin/nginx", "the nginx `program`")
	f.StringVar(&o.settings.Dir, "dir", "/var/lib/nginx", "`directory` of nginx.conf, the control socket and temporary files")
	f.StringVar(&o.settings.User, "user", "www-data", "`user` of the nginx workers")
	f.IntVar(&o.settings.Keepalive, "upstream-keepalive", 0, "idle upstream connections kept by each worker, `N`; 0 closes each after its request, as kubernetes-ingress does by default")
	f.IntVar(&o.settings.UpstreamRequests, "upstream-requests", 1000, "requests on a kept upstream connection, `N`")
	f.IntVar(&o.settings.KeepaliveRequests, "keepalive-requests", 1000, "requests on a client's connection, `N`")
	f.IntVar(&o.settings.Connections, "worker-connections", 1024, "connections of a worker, to clients and upstream together, `N`")
	f.BoolVar(&o.settings.ReusePort, "reuseport", false, "a listening socket for each worker")
	f.StringVar(&g.buffers, "proxy-buffers", "", "buffers of a response, `NxSIZE`, and no file beyond them (default: nginx's)")
	f.IntVar(&o.settings.Tries, "tries", 0, "endpoints that a request is given to until one answers, `N`; 0: all")
	f.DurationVar(&o.settings.ConnectTimeout, "connect-timeout", time.Minute, "of a connection to an endpoint")
	f.StringVar(&o.settings.Balance, "balance", balanceRandomTwo, "`how` an endpoint is chosen: "+balanceRandomTwo+", or "+balanceLeast)
	f.DurationVar(&o.quiet, "quiet", 100*time.Millisecond, "reload when no endpoint has changed for this long")
	f.DurationVar(&o.longest, "longest", 500*time.Millisecond, "reload at the latest this long after a change")
	f.DurationVar(&o.reload, "reload-timeout", time.Minute, "how long a reload may take until the new configuration answers")
	f.DurationVar(&o.drain, "drain", time.Second, "how long open requests may take when stopping")
}

// buffers is what --proxy-buffers may be.
var buffers = regexp.MustCompile(`^([1-9][0-9]*)x([1-9][0-9]*[km])$`)

// check reads into o what is a word on the command line.
func (g *flags) check(o *options) error {
	s := &o.settings
	var err error
	if s.Listen, err = netip.ParseAddrPort(g.listen); err != nil {
		return cli.Misuse("parsing --listen %q: %w (hint: [::]:80)", g.listen, err)
	}
	if g.tls != "" {
		if s.TLS.Listen, err = netip.ParseAddrPort(g.tls); err != nil {
			return cli.Misuse("parsing --tls-listen %q: %w (hint: [::]:443)", g.tls, err)
		}
		if s.TLS.Cert == "" || s.TLS.Key == "" {
			return cli.Misuse("--tls-listen %s needs --tls-cert and --tls-key", g.tls)
		}
	}
	if g.buffers != "" {
		m := buffers.FindStringSubmatch(g.buffers)
		if m == nil {
			return cli.Misuse("--proxy-buffers %q (hint: 8x32k)", g.buffers)
		}
		s.Buffers = m[1] + " " + m[2]
	}
	for _, n := range []struct {
		flag         string
		value, least int
	}{
		{"upstream-keepalive", s.Keepalive, 0},
		{"upstream-requests", s.UpstreamRequests, 1},
		{"keepalive-requests", s.KeepaliveRequests, 1},
		{"worker-connections", s.Connections, 16},
		{"tries", s.Tries, 0},
	} {
		if n.value < n.least {
			return cli.Misuse("--%s %d (hint: %d or more)", n.flag, n.value, n.least)
		}
	}
	if s.ConnectTimeout < time.Millisecond {
		return cli.Misuse("--connect-timeout %s (hint: 1ms or more)", s.ConnectTimeout)
	}
	if b := s.Balance; b != balanceRandomTwo && b != balanceLeast {
		return cli.Misuse("--balance %q (hint: %q or %q)", b, balanceRandomTwo, balanceLeast)
	}
	return nil
}

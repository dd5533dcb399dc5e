// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"

	"github.com/spf13/pflag"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// dnsOptions are the flags of serve that say how it answers.
type dnsOptions struct {
	listen []string
	tls    server.TLS
	names  server.Names
	rate   server.RateLimit
	limits server.Limits
	log    server.QueryLog
	tap    server.Dnstap
}

func (o *dnsOptions) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.listen, "listen", nil, "`ADDRESS` with port for UDP and TCP, as [::]:53 (repeatable)")
	f.StringArrayVar(&o.tls.Listen, "tls-listen", nil, "`ADDRESS` with port for DNS over TLS, as [::]:853 (repeatable)")
	f.StringVar(&o.tls.Cert, "tls-cert", "", "certificate chain in a PEM `FILE`, read again when it changes")
	f.StringVar(&o.tls.Key, "tls-key", "", "its key in a PEM `FILE`")
	f.StringVar(&o.names.ID, "server-id", "", "`NAME` told to who asks with NSID or for id.server (default: none)")
	f.StringVar(&o.names.Version, "server-version", "", "`TEXT` told to who asks for version.server (default: none)")
	f.IntVar(&o.rate.PerSecond, "rate-limit", 0, "replies of one kind a second to one network over UDP (default: all)")
	f.IntVar(&o.rate.Slip, "rate-slip", 2, "every so manieth reply beyond the rate limit sends its client to TCP; 0: none")
	f.IntVar(&o.limits.Connections, "tcp-connections", 4096, "TCP connections open at once")
	f.IntVar(&o.limits.PerClient, "tcp-per-client", 256, "TCP connections open at once from one client")
	f.IntVar(&o.log.Every, "log-queries", 0, "log one query in `N` (default: none)")
	f.StringVar(&o.tap.To, "dnstap", "", "write dnstap to unix:`PATH` or file:PATH (default: none)")
	f.IntVar(&o.tap.Every, "dnstap-every", 1, "write one query in `N`")
}

func (o *dnsOptions) check() error {
	for _, l := range []struct {
		flag      string
		addresses []string
		hint      string
	}{{"--listen", o.listen, "[::]:53 or 192.0.2.1:53"}, {"--tls-listen", o.tls.Listen, "[::]:853 or 192.0.2.1:853"}} {
		for _, a := range l.addresses {
			if _, _, err := net.SplitHostPort(a); err != nil {
				return cli.Misuse("%s %q: %w (hint: %s)", l.flag, a, err, l.hint)
			}
		}
	}
	if (len(o.tls.Listen) > 0) != (o.tls.Cert != "") || (o.tls.Cert != "") != (o.tls.Key != "") {
		return cli.Misuse("DNS over TLS needs --tls-listen, --tls-cert and --tls-key (hint: all three or none)")
	}
	if o.rate.Slip < 0 {
		return cli.Misuse("--rate-slip %d is below 0 (hint: 0 leaves out all replies beyond the limit, 1 sends the clients of all to TCP, 2 of every other)", o.rate.Slip)
	}
	for flag, value := range map[string]int{"--rate-limit": o.rate.PerSecond, "--log-queries": o.log.Every, "--dnstap-every": o.tap.Every - 1, "--tcp-connections": o.limits.Connections - 1, "--tcp-per-client": o.limits.PerClient - 1} {
		if value < 0 {
			return cli.Misuse("%s is too small (hint: serve --help)", flag)
		}
	}
	if err := o.tap.Check(); err != nil {
		return cli.Misuse("%w", err)
	}
	if err := o.names.Check(); err != nil {
		return cli.Misuse("%w", err)
	}
	return nil
}

// config is the server's configuration that the flags ask for.
func (o *dnsOptions) config() server.Config {
	return server.Config{Listen: o.listen, TLS: o.tls, Names: o.names, Rate: o.rate, TCP: o.limits, QueryLog: o.log, Dnstap: o.tap}
}

// serverConfig is what the configuration of run says of the server.
func serverConfig(c *config.Config) server.Config {
	return server.Config{
		Listen: c.Listen, TLS: server.TLS{Listen: c.TLS.Listen, Cert: c.TLS.Cert, Key: c.TLS.Key},
		Names:    server.Names{ID: c.DNS.ID, Version: c.DNS.Version},
		Rate:     server.RateLimit{PerSecond: c.DNS.RateLimit.PerSecond, Slip: *c.DNS.RateLimit.Slip},
		TCP:      server.Limits{Connections: c.DNS.TCP.Connections, PerClient: c.DNS.TCP.PerClient, Idle: c.DNS.TCP.Idle, Memory: c.DNS.TCP.Memory},
		QueryLog: server.QueryLog{Every: c.DNS.QueryLog.Every, PerSecond: c.DNS.QueryLog.PerSecond},
		Dnstap:   server.Dnstap{To: c.DNS.Dnstap.To, Every: c.DNS.Dnstap.Every},
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/query"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/dnsclient"
)

const dnsLong = `dns asks SERVER at a rate that does not depend on how the server does: one query a request, each
from a socket of its own, for one of the names, drawn by --seed. Nothing is cached or asked again.

` + outputLong

// dnsFlags are the flags of "loadgen dns" as given.
type dnsFlags struct {
	loadFlags

	names     []string
	qtype     string
	network   string
	recursion bool
}

func dnsCommand(stdout, stderr io.Writer) *cobra.Command {
	var f dnsFlags
	c := &cobra.Command{
		Use:   "dns SERVER",
		Short: "Load a DNS server",
		Long:  dnsLong,
		Example: `  loadgen dns [::1]:53 --name backend.apps.test --rate 5000
  loadgen dns ::1 --name a.test --name b.test --type A --network tcp -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := f.job(args[0])
			if err != nil {
				return &cli.MisuseError{Err: err}
			}
			return f.run(cmd.Context(), j, stdout, stderr)
		},
	}
	fs := c.Flags()
	f.registerLoad(fs)
	fs.StringSliceVar(&f.names, "name", nil, "name to ask for (repeatable)")
	fs.StringVar(&f.qtype, "type", "AAAA", "record type to ask for")
	fs.StringVar(&f.network, "network", "udp", "udp or tcp")
	fs.BoolVar(&f.recursion, "recursion", false, "ask for recursion, as of a resolver")
	f.registerOutput(fs)
	return c
}

// job checks the flags and returns what is to be done, or every error at once.
func (f *dnsFlags) job(address string) (job, error) {
	var p problems
	f.checkLoad(&p)
	p.oneOf("--network", f.network, "udp", "tcp")
	p.check(len(f.names) > 0, "--name is missing (hint: --name backend.apps.test)")
	qtype, known := dns.StringToType[strings.ToUpper(f.qtype)]
	p.check(known, "--type: unknown record type %q (hint: A, AAAA, SOA)", f.qtype)
	server, err := dnsclient.ParseServer(address)
	if err != nil {
		p = append(p, err)
	}
	load, err := query.NewLoad(f.client, f.network, netip.AddrPort(server), f.names, qtype, f.recursion, f.timeout)
	p.note("--name", err)
	if len(p) > 0 {
		return job{}, errors.Join(p...)
	}
	what := fmt.Sprintf("%d names", len(f.names))
	if len(f.names) == 1 {
		what = f.names[0]
	}
	return job{
		title:    fmt.Sprintf("%s queries for %s to %s over %s", strings.ToUpper(f.qtype), what, server, f.network),
		attempts: 1,
		users:    len(f.names),
		do:       func(n int, hit openloop.Hit, note record.Note) { load.Do(n, hit.Seq, hit.Intended, note) },
		close:    func() {},
	}, nil
}

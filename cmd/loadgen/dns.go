// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
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

const dnsLong = `dns asks SERVERs at a rate that does not depend on how they do, one query a request, each server in
turn. Nothing is cached or asked again.

The names are those of --name and --list, drawn by --pick and --seed; a name that begins with "*." has
a random label in place of the star in each query. Without any, the root's name servers are asked for,
which every resolver knows.

Queries go from --sockets ports or connections a server that are kept, or with --connection new from
a socket each, as a stub resolver's do. Over UDP, ports that are kept are served by one thread in
batches, which costs little at high rates: a batch gathers what falls due in 0.1 ms.

With --accuracy, answers are judged against the truth, which this command knows because it makes the
changes itself, or is told of them:

  update            changes names of --zone by dynamic update (RFC 2136) at --update-server
  zonefile:PATH     writes the zone as a master file anew, then runs --after
  dnsendpoint:PATH  writes a DNSEndpoint of external-dns anew, then runs --after ('kubectl apply -f PATH')
  events:PATH       follows a file of lines {"unix_ns":…,"name":…,"type":…,"data":[…]} ("-": standard
                    input), which begins with what is true; where it does not end, an empty line ends that

Each answer is right, stale, missing or wrong, and for each change and server it is measured how long it
took to the first right answer and to the last wrong one. Both are exact to within the time between
two queries for a name at a server, which is names × servers / --rate. Give several SERVERs to see how
changes come to each, as to those of other clusters. accuracy.jsonl in --out has every change.

` + outputLong

// dnsFlags are the flags of "loadgen dns" as given.
type dnsFlags struct {
	loadFlags
	truth truthFlags

	names      []string
	list       string
	pick       string
	qtype      string
	network    string
	connection string
	sockets    int
	recursion  bool
	serverName string
	insecure   bool
	ca         string
}

func dnsCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var f dnsFlags
	c := &cobra.Command{
		Use:   "dns SERVER...",
		Short: "Load DNS servers, and judge their answers",
		Long:  dnsLong,
		Example: `  loadgen dns [::1]:53 --name backend.apps.test --rate 5000
  loadgen dns ::1 --list names.txt --pick zipf:1 --type A --network tls --insecure -o json
  loadgen dns ::1 --name '*.apps.test' --find-max --slo-p99 5ms
  loadgen dns [fd00:1::53]:53 [fd00:2::53]:53 --accuracy update --zone apps.test --tsig key:c2VjcmV0 --changes 5 --rate 2000`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := f.job(cmd.Context(), args, stdin)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), j, stdout, stderr)
		},
	}
	fs := c.Flags()
	f.registerLoad(fs)
	fs.StringSliceVar(&f.names, "name", nil, "name to ask for; '*.apps.test' has a random label in each query (repeatable)")
	fs.StringVar(&f.list, "list", "", "file of names to ask for: one a line, and its type behind it where it is not --type")
	fs.StringVar(&f.pick, "pick", "", "how names are drawn: uniform, order (one after the other), or zipf:S (default: uniform; with --accuracy: order)")
	fs.StringVar(&f.qtype, "type", "AAAA", "record type to ask for")
	fs.StringVar(&f.network, "network", "udp", "udp, tcp, or tls")
	fs.StringVar(&f.connection, "connection", "keepalive", "keepalive: ports or connections are kept; new: one a query")
	fs.IntVar(&f.sockets, "sockets", 16, "keepalive: ports or connections a server")
	fs.BoolVar(&f.recursion, "recursion", false, "ask for recursion, as of a resolver")
	fs.StringVar(&f.serverName, "tls-name", "", "tls: name that the certificate must hold (default: the server's address)")
	fs.BoolVar(&f.insecure, "insecure", false, "tls: accept any certificate")
	fs.StringVar(&f.ca, "ca", "", "tls: PEM file with the authorities to trust (default: the system's)")
	f.truth.register(fs)
	f.registerOutput(fs)
	return c
}

// job checks the flags and returns what is to be done, or every error at once.
func (f *dnsFlags) job(ctx context.Context, servers []string, stdin io.Reader) (job, error) {
	var p problems
	f.checkLoad(&p)
	p.oneOf("--network", f.network, "udp", "tcp", "tls")
	p.oneOf("--connection", f.connection, "keepalive", "new")
	p.check(f.sockets > 0 && f.sockets <= 4096, "--sockets must be from 1 to 4096, not %d", f.sockets)
	qtype, known := dns.StringToType[strings.ToUpper(f.qtype)]
	p.check(known, "--type: unknown record type %q (hint: A, AAAA, SOA)", f.qtype)
	c := query.Config{Client: f.client, Network: f.network, Timeout: f.timeout, Sockets: f.sockets}
	for _, s := range servers {
		server, err := f.server(s)
		if err != nil {
			p = append(p, err)
		}
		c.Servers = append(c.Servers, server)
	}
	questions, err := f.questions(qtype)
	p.note("--list", err)
	truth, err := f.truth.open(f, c.Servers, qtype, stdin)
	if err != nil {
		p = append(p, err)
	}
	if truth != nil {
		questions = truth.questions
		c.Judge = truth.judge
	}
	if f.pick == "" {
		if f.pick = "uniform"; truth != nil {
			f.pick = query.InOrder.String()
		}
	}
	pick, err := query.ParsePick(f.pick)
	p.note("--pick", err)
	if err == nil {
		c.Book, err = query.NewBook(questions, f.recursion || f.asksRoot(), pick, f.seeded("names").Uint64())
		p.note("--name", err)
	}
	roots, err := authorities(f.ca)
	p.note("--ca", err)
	if len(p) > 0 {
		return job{}, &cli.MisuseError{Err: errors.Join(p...)}
	}
	c.TLS = &tls.Config{ServerName: f.serverName, InsecureSkipVerify: f.insecure, RootCAs: roots, NextProtos: []string{"dot"}} // RFC 7858
	if c.TLS.ServerName == "" {
		c.TLS.ServerName = c.Servers[0].Addr().String()
	}
	j, err := f.sender(c)
	if err != nil {
		return job{}, err
	}
	j.title = f.describe(questions, c.Servers)
	j.attempts = 1
	j.draw = c.Draw
	if f.asksRoot() {
		j.account = func(o *outcome) error {
			if o.Succeeded == 0 {
				o.Warnings = append(o.Warnings, "nobody answered for the root (hint: --name or --list, for a server that is no resolver knows its own names alone)")
			}
			return nil
		}
	}
	if truth != nil {
		if err := truth.begin(ctx, f); err != nil {
			j.close()
			return job{}, err
		}
		truth.follow(&j)
	}
	return j, nil
}

// server reads a server's address; without a port it is that of the transport.
func (f *dnsFlags) server(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil && f.network == "tls" {
		return netip.AddrPortFrom(a, 853), nil // RFC 7858 §3.1
	}
	server, err := dnsclient.ParseServer(s)
	return netip.AddrPort(server), err
}

func (f *dnsFlags) asksRoot() bool { return len(f.names) == 0 && f.list == "" && f.truth.how == "" }

func (f *dnsFlags) questions(qtype uint16) ([]query.Question, error) {
	if f.asksRoot() {
		f.qtype = "NS"
		return []query.Question{{Name: ".", Type: dns.TypeNS}}, nil
	}
	var out []query.Question
	for _, n := range f.names {
		out = append(out, query.Question{Name: n, Type: qtype})
	}
	if f.list == "" {
		return out, nil
	}
	listed, err := query.ReadList(f.list, qtype)
	return append(out, listed...), err
}

// sender returns the way in which queries are sent.
func (f *dnsFlags) sender(c query.Config) (job, error) {
	switch {
	case f.connection == "new":
		load := query.NewLoad(c)
		return job{
			do:    func(n int, hit openloop.Hit, note record.Note) { load.Do(n, hit.Seq, hit.Intended, note) },
			close: func() {},
		}, nil
	case f.network == "udp":
		flow, err := query.NewFlow(c)
		if err != nil {
			return job{}, err
		}
		return job{flow: flow.Run, lone: true, close: flow.Close}, nil
	}
	streams := query.NewStreams(c)
	return job{
		do:    func(n int, hit openloop.Hit, note record.Note) { streams.Do(n, hit.Seq, hit.Intended, note) },
		close: streams.Close,
	}, nil
}

// describe says in a line what is done.
func (f *dnsFlags) describe(questions []query.Question, servers []netip.AddrPort) string {
	what := fmt.Sprintf("%d names (%s)", len(questions), f.pick)
	if len(questions) == 1 {
		what = questions[0].Name
	}
	to := servers[0].String()
	if len(servers) > 1 {
		to = fmt.Sprintf("%d servers", len(servers))
	}
	how := "kept sockets"
	if f.connection == "new" {
		how = "a socket each"
	}
	return fmt.Sprintf("%s queries for %s to %s over %s, %s", strings.ToUpper(f.qtype), what, to, f.network, how)
}

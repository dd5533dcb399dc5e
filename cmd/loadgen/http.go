// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/dnsclient"
)

const httpLong = `http requests URL at a rate that does not depend on how the service does.

Each request is due at an instant of a schedule and belongs to one of --clients simulated users,
drawn by --seed. A user resolves the host through --resolver and caches answers as their TTLs say,
takes one address of the answer (at random unless --order says otherwise), and opens a new
connection a request or keeps connections alive. An attempt that fails is recorded and counted, by
class and phase; it is not made again unless --attempts allows. When more than --max-in-flight
requests are under way, those due are dropped, which is recorded too. Latency is counted from the
instant at which a request was due.

` + outputLong

const outputLong = `Requests due in the first --warmup are made and recorded, and left out of every figure. With --out,
samples.parquet has a row for every attempt, histogram.hlog the latency of what succeeded in the
window, and generator.json, written last, how well the generator kept its schedule. Failed requests
do not make the command fail; SIGINT or SIGTERM end the run early, with whole files and exit code 1.`

// httpFlags are the flags of "loadgen http" as given.
type httpFlags struct {
	loadFlags

	clients    int
	method     string
	headers    []string
	body       string
	connection string
	perConn    int
	maxAge     time.Duration
	maxIdle    time.Duration
	attempts   int
	maxBody    int64
	insecure   bool

	resolver    string
	addresses   []string
	family      string
	ttl         string
	order       string
	dnsTimeout  time.Duration
	dnsAttempts int
	source      string
}

func httpCommand(stdout, stderr io.Writer) *cobra.Command {
	var f httpFlags
	c := &cobra.Command{
		Use:   "http URL",
		Short: "Load an HTTP service",
		Long:  httpLong,
		Example: `  loadgen http http://backend.apps.test/ --rate 1000 --duration 15s
  loadgen http http://[::1]:8080/ --rate 200 --connection keepalive --out results/try -o json
  loadgen http http://backend.apps.test/ --resolver [::1]:53 --ttl min:30s --order rfc6724`,
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

	fs.IntVar(&f.clients, "clients", 50, "simulated users, each with its own DNS cache and connections")
	fs.StringVar(&f.method, "method", http.MethodGet, "request method")
	fs.StringArrayVarP(&f.headers, "header", "H", nil, "request header 'Name: value'; Host replaces the URL's (repeatable)")
	fs.StringVar(&f.body, "body", "", "file with the request's body")
	fs.StringVar(&f.connection, "connection", "new", "new: one connection a request; keepalive: per user, used again")
	fs.IntVar(&f.perConn, "max-requests", 0, "keepalive: requests on one connection (0: no limit)")
	fs.DurationVar(&f.maxAge, "max-age", 0, "keepalive: age of a connection that is used again (0: no limit)")
	fs.DurationVar(&f.maxIdle, "max-idle", 90*time.Second, "keepalive: how long a connection may idle (0: no limit)")
	fs.IntVar(&f.attempts, "attempts", 1, "attempts a request; each is recorded")
	fs.Int64Var(&f.maxBody, "max-body", 64<<20, "bytes of a reply's body beyond which it is an error")
	fs.BoolVar(&f.insecure, "insecure", false, "https: accept any certificate")

	fs.StringVar(&f.resolver, "resolver", "", "recursive resolver to ask, as [::1]:53 (default: the first of /etc/resolv.conf)")
	fs.StringSliceVar(&f.addresses, "addresses", nil, "addresses to use instead of asking DNS")
	fs.StringVar(&f.family, "family", "auto", "ipv6, ipv4, or auto: IPv6, and IPv4 where a name has no IPv6 address")
	fs.StringVar(&f.ttl, "ttl", "honour", "what becomes of TTLs: honour, min:30s, max:5s, forever")
	fs.StringVar(&f.order, "order", "random", "which address of an answer is used: random, first, rfc6724")
	fs.DurationVar(&f.dnsTimeout, "dns-timeout", 0, "of one attempt of a lookup (0: as --timeout)")
	fs.IntVar(&f.dnsAttempts, "dns-attempts", 1, "attempts a lookup, each one query")
	fs.StringVar(&f.source, "source", "", "prefix routed to this machine; user n connects from its n-th address (lookups do not)")
	f.registerOutput(fs)
	return c
}

// job checks the flags and returns what is to be done, or every error at once.
func (f *httpFlags) job(url string) (job, error) {
	h, err := f.habits(url)
	if err != nil {
		return job{}, err
	}
	users, err := user.NewPopulation(f.clients, h, f.seeded("users").Uint64())
	if err != nil {
		return job{}, fmt.Errorf("--source: %w", err)
	}
	return job{
		title:    f.describe(h),
		attempts: f.attempts,
		users:    f.clients,
		do:       func(n int, hit openloop.Hit, note record.Note) { users[n].Do(hit.Seq, hit.Intended, note) },
		close: func() {
			for _, u := range users {
				u.Close()
			}
		},
	}, nil
}

// habits checks the flags and returns what they mean for the users, or every error at once.
func (f *httpFlags) habits(url string) (*user.Habits, error) {
	var p problems
	f.checkLoad(&p)
	p.check(f.clients > 0 && f.clients <= math.MaxInt32, "--clients must be positive")
	p.check(f.attempts > 0, "--attempts must be at least 1")
	p.check(f.dnsAttempts > 0, "--dns-attempts must be at least 1")
	p.check(f.dnsTimeout >= 0, "--dns-timeout must not be negative")
	p.check(f.perConn >= 0 && f.maxAge >= 0 && f.maxIdle >= 0 && f.maxBody >= 0,
		"--max-requests, --max-age, --max-idle and --max-body must not be negative")
	p.check(len(f.addresses) == 0 || f.resolver == "", "--addresses and --resolver exclude each other")
	p.oneOf("--connection", f.connection, "new", "keepalive")
	p.oneOf("--family", f.family, string(user.Auto), string(user.IPv6), string(user.IPv4))

	h := &user.Habits{
		Client: f.client, Timeout: f.timeout, Attempts: f.attempts, MaxBody: f.maxBody,
		KeepAlive: f.connection == "keepalive", MaxRequests: f.perConn, MaxAge: f.maxAge, MaxIdle: f.maxIdle,
		Family: user.Family(f.family),
	}
	var err error
	if h.Target, err = f.target(url); err != nil {
		p = append(p, err)
	}
	h.Order, err = dnsclient.ParseOrder(f.order)
	p.note("--order", err)
	h.DNS.TTL, err = dnsclient.ParseTTL(f.ttl)
	p.note("--ttl", err)
	for _, s := range f.addresses {
		a, err := netip.ParseAddr(s)
		p.note("--addresses", err)
		h.Addresses = append(h.Addresses, a)
	}
	if f.source != "" {
		h.Sources, err = netip.ParsePrefix(f.source)
		p.note("--source", err)
	}
	if len(p) > 0 {
		return nil, errors.Join(p...)
	}
	h.TLS = &tls.Config{ServerName: h.Target.Name, InsecureSkipVerify: f.insecure, NextProtos: []string{"http/1.1"}}
	h.DNS.Attempts, h.DNS.Timeout = f.dnsAttempts, f.dnsTimeout
	if h.DNS.Timeout == 0 {
		h.DNS.Timeout = f.timeout
	}
	if h.AsksDNS() {
		server, err := f.server()
		if err != nil {
			return nil, fmt.Errorf("--resolver: %w", err)
		}
		h.DNS.Exchanger = server
	}
	return h, nil
}

func (f *httpFlags) server() (dnsclient.Server, error) {
	if f.resolver == "" {
		return dnsclient.SystemServer("/etc/resolv.conf")
	}
	return dnsclient.ParseServer(f.resolver)
}

func (f *httpFlags) target(url string) (*user.Target, error) {
	r := user.Request{URL: url, Method: f.method, Header: http.Header{}, Close: f.connection == "new"}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("--header %q is no header (hint: 'Name: value')", h)
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if f.body != "" {
		b, err := os.ReadFile(f.body)
		if err != nil {
			return nil, fmt.Errorf("--body: %w", err)
		}
		r.Body = b
	}
	return user.NewTarget(r)
}

// describe says in a line what is done.
func (f *httpFlags) describe(h *user.Habits) string {
	connections := "new connection a request"
	if h.KeepAlive {
		connections = "keep-alive"
	}
	via := "no DNS asked"
	if h.AsksDNS() {
		via = fmt.Sprintf("resolver %v, TTL %s, %s address", h.DNS.Exchanger, h.DNS.TTL, h.Order)
	}
	return fmt.Sprintf("%s %s, %d clients, %s, %s", f.method, h.Target.URL, f.clients, connections, via)
}

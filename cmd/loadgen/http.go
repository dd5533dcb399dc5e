// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/cli"
)

const httpLong = `http requests URL at a rate that does not depend on how the service does.

Each request is due at an instant of a schedule and belongs to one of --clients simulated users,
drawn by --seed. A user resolves the host through --resolver and caches answers as their TTLs say,
takes one address of the answer (at random unless --order says otherwise), and opens a new
connection a request or keeps connections alive. An attempt that fails is recorded and counted, by
class and phase; it is not made again unless --attempts and --retry-budget allow. Nothing is asked,
connected or sent twice unseen: each row says how many queries and connections it took. When more
than --max-in-flight requests are under way, those due are dropped, which is recorded too. Latency
is counted from the instant at which a request was due.

Users may differ: --ttl, --order, --protocol and --connection take one value for all, or shares of
the population, as --ttl honour=70/min:30s=20/forever=10.

What is asked for is URL, or with --request or --requests a mix at its host. A file of requests:

  requests:
    - name: read        # in the column "request" and the summary
      weight: 9         # of all weights; default 1
      path: /items/1
    - name: buy
      method: POST
      path: /cart
      headers: {Content-Type: application/json}
      body: '{"item": 1}'      # or bodyFile: FILE, or bodyBytes: 1024 (random)
      then:                    # the same user goes on, when it has thought
        - path: /checkout
          think: exp:2s        # or 500ms, or 1s..3s

What follows in a session is due when its user has thought, and counted from then; a session whose
request fails ends, and none goes on after --duration.

--order happy-eyeballs asks for AAAA and A at once and races the addresses (RFC 8305); rfc6724
takes the first as getaddrinfo sorts them. --dns-deadline ends a lookup; an answer that comes up to
--late-answers after it is counted as late, and not used.

` + outputLong

const outputLong = `Requests due in the first --warmup are made and recorded, and left out of every figure. With --out,
samples.parquet has a row for every attempt, histogram.hlog the latency of what succeeded in the
window, and generator.json, written last, how well the generator kept its schedule. Failed requests
do not make the command fail; SIGINT or SIGTERM end the run early, with whole files and exit code 1.`

// httpFlags are the flags of "loadgen http" as given.
type httpFlags struct {
	loadFlags

	clients  int
	method   string
	headers  []string
	hosts    []string
	body     string
	requests []string
	mix      string
	maxBody  int64

	protocol    string
	connection  string
	perConn     int
	maxAge      time.Duration
	maxIdle     time.Duration
	attempts    int
	retryBudget float64
	retryWait   time.Duration
	insecure    bool
	ca          string

	resolverFlags
	failedFor   time.Duration
	raceDelay   time.Duration
	sourcePorts string
}

// resolverFlags say how simulated clients get from a name to an address, and from where.
type resolverFlags struct {
	resolver    string
	addresses   []string
	family      string
	ttl         string
	order       string
	dnsTimeout  time.Duration
	dnsAttempts int
	dnsDeadline time.Duration
	lateAnswers time.Duration
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
  loadgen http http://backend.apps.test/ --resolver [::1]:53 --ttl honour=80/forever=20 --clients 5000
  loadgen http https://shop.test/ --protocol h2=70/h3=30 --connection keepalive --max-age 1m
  loadgen http http://shop.test/ --request '9 GET /items' --request '1 POST /cart {"item":1}'
  loadgen http http://shop.test/ --attempts 3 --retry-budget 0.1 --failed-for 30s --order happy-eyeballs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := f.job(cmd.Context(), args[0])
			if err != nil {
				return &cli.MisuseError{Err: err}
			}
			return f.run(cmd.Context(), j, stdout, stderr)
		},
	}
	f.register(c.Flags())
	return c
}

func (f *httpFlags) register(fs *pflag.FlagSet) {
	f.registerLoad(fs)

	fs.IntVar(&f.clients, "clients", 50, "simulated users, each with its own DNS cache and connections")
	fs.StringSliceVar(&f.hosts, "hosts", nil, "further host names: user n asks for the n-th of the URL's and these, round and round")
	fs.StringVar(&f.method, "method", http.MethodGet, "request method")
	fs.StringArrayVarP(&f.headers, "header", "H", nil, "header of every request, 'Name: value'; Host replaces the URL's (repeatable)")
	fs.StringVar(&f.body, "body", "", "file with the request's body")
	fs.StringArrayVar(&f.requests, "request", nil, "one of a mix, as 'WEIGHT METHOD PATH [BODY]' (repeatable)")
	fs.StringVar(&f.mix, "requests", "", "YAML file with a mix of requests and sessions, see above")
	fs.Int64Var(&f.maxBody, "max-body", 64<<20, "bytes of a reply's body beyond which it is an error")

	fs.StringVar(&f.protocol, "protocol", "h1", "h1: HTTP/1.1, h2: HTTP/2 (without TLS with prior knowledge), h3: HTTP/3; or shares")
	fs.StringVar(&f.connection, "connection", "new", "new: one connection a request; keepalive: per user, used again; or shares")
	fs.IntVar(&f.perConn, "max-requests", 0, "keepalive: requests on one connection (0: no limit)")
	fs.DurationVar(&f.maxAge, "max-age", 0, "keepalive: age of a connection that is used again (0: no limit)")
	fs.DurationVar(&f.maxIdle, "max-idle", 90*time.Second, "keepalive: how long a connection may idle (0: no limit)")
	fs.IntVar(&f.attempts, "attempts", 1, "attempts a request; each is recorded")
	fs.Float64Var(&f.retryBudget, "retry-budget", 0, "share of a user's requests that may be made again, up to 10 saved (0: no bound but --attempts)")
	fs.DurationVar(&f.retryWait, "retry-wait", 0, "before the second attempt, a random part of it; doubled before each further one")
	fs.BoolVar(&f.insecure, "insecure", false, "https: accept any certificate")
	fs.StringVar(&f.ca, "ca", "", "https: PEM file with the authorities to trust (default: the system's)")

	f.resolverFlags.register(fs)
	fs.DurationVar(&f.failedFor, "failed-for", 0, "how long a user tries an address that failed after all others (0: no memory)")
	fs.DurationVar(&f.raceDelay, "race-delay", 250*time.Millisecond, "happy-eyeballs: after which the next address is tried beside those under way")
	fs.StringVar(&f.sourcePorts, "source-ports", "", "range shared out among the users, each with ports of its own, as 20000-59999 (default: the kernel's choice)")
	f.registerOutput(fs)
}

func (f *resolverFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.resolver, "resolver", "", "recursive resolver to ask, as [::1]:53 (default: the first of /etc/resolv.conf)")
	fs.StringSliceVar(&f.addresses, "addresses", nil, "addresses to use instead of asking DNS")
	fs.StringVar(&f.family, "family", "auto", "ipv6, ipv4, or auto: IPv6, and IPv4 where a name has no IPv6 address (happy-eyeballs: both)")
	fs.StringVar(&f.ttl, "ttl", "honour", "what becomes of TTLs: honour, min:30s, max:5s, forever; or shares")
	fs.StringVar(&f.order, "order", "random", "which address of an answer is used: random, first, rfc6724, happy-eyeballs; or shares")
	fs.DurationVar(&f.dnsTimeout, "dns-timeout", 0, "of one attempt of a lookup (0: as --timeout)")
	fs.IntVar(&f.dnsAttempts, "dns-attempts", 1, "attempts a lookup, each one query")
	fs.DurationVar(&f.dnsDeadline, "dns-deadline", 0, "of a lookup with all its attempts (0: what these take)")
	fs.DurationVar(&f.lateAnswers, "late-answers", 2*time.Second, "how long after a lookup's deadline its answer is listened for, to be counted as late")
	fs.StringVar(&f.source, "source", "", "prefix routed to this machine, as a /64; user n asks and connects from its n-th address")
}

// job checks the flags and returns what is to be done, or every error at once.
func (f *httpFlags) job(ctx context.Context, url string) (job, error) {
	h, traits, err := f.habits(url)
	if err != nil {
		return job{}, err
	}
	h.Running = ctx
	log.SetOutput(io.Discard) // net/http tells there of a server's broken frames, each of which is a row here
	users, err := user.NewPopulation(f.clients, h, traits, f.seeded("users").Uint64())
	if err != nil {
		return job{}, err
	}
	j := job{
		title:    f.describe(h, traits),
		attempts: f.attempts,
		users:    f.clients,
		weight:   f.weight(h, traits),
		do: func(n int, hit openloop.Hit, note record.Note) {
			users[n].Do(hit.Seq, hit.Intended, hit.End, note)
		},
		settle: func() { user.Settle(users) },
		close:  func() { user.Close(users) },
	}
	if h.Mix != nil {
		thinking, requests := h.Mix.Longest()
		j.attempts, j.hold = f.attempts*requests, thinking
	}
	return j, nil
}

// weight returns about how many plain requests of HTTP/1.1 one of the population costs this machine.
func (f *httpFlags) weight(h *user.Habits, traits user.Traits) float64 {
	w := 1.0
	if h.Target.TLS && has(traits.KeepAlive, false) {
		w = 4 // handshakes
	}
	switch {
	case has(traits.Protocol, user.HTTP3):
		return w + 3
	case has(traits.Protocol, user.HTTP2):
		return w + 1
	}
	return w
}

// describe says in a line what is done.
func (f *httpFlags) describe(h *user.Habits, traits user.Traits) string {
	what := f.method
	if h.Mix != nil {
		what = "a mix of requests to"
	}
	connections := map[string]string{"new": "new connection a request", "keepalive": "keep-alive"}[f.connection]
	if connections == "" {
		connections = f.connection
	}
	via := "no DNS asked"
	if h.AsksDNS() {
		via = fmt.Sprintf("resolver %v, TTL %s, %s address", h.Resolver, f.ttl, f.order)
	}
	return fmt.Sprintf("%s %s, %d clients, %s, %s, %s", what, h.Target.URL, f.clients, f.protocol, connections, via)
}

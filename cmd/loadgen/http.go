// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

const httpLong = `http requests URL at a rate that does not depend on how the service does.

Each request is due at an instant of a schedule and belongs to one of --clients simulated users,
drawn by --seed. A user resolves the host through --resolver and caches answers as their TTLs say,
takes one address of the answer (at random unless --order says otherwise), and opens a new
connection a request or keeps connections alive. An attempt that fails is recorded and counted, by
class and phase; it is not made again unless --attempts allows. When more than --max-in-flight
requests are under way, those due are dropped, which is recorded too. Latency is counted from the
instant at which a request was due.

Requests due in the first --warmup are made and recorded, and left out of every figure.
A file exists in --out exactly when the run got that far: samples.parquet, histogram.hlog and, last,
generator.json. Failed requests do not make the command fail; SIGINT or SIGTERM end the run early,
with whole files and exit code 1.`

// httpFlags are the flags of "loadgen http" as given.
type httpFlags struct {
	rate             float64
	pacing           string
	duration, warmup time.Duration
	startAt          int64
	seed             uint64
	clients          int
	maxInFlight      int

	method     string
	headers    []string
	body       string
	connection string
	perConn    int
	maxAge     time.Duration
	maxIdle    time.Duration
	timeout    time.Duration
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

	client string
	out    string
	output string
	quiet  bool
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
			return f.run(cmd.Context(), args[0], stdout, stderr)
		},
	}
	hostname, _ := os.Hostname()
	fs := c.Flags()
	fs.SortFlags = false
	fs.Float64Var(&f.rate, "rate", 100, "requests a second")
	fs.StringVar(&f.pacing, "pacing", "constant", "constant, or poisson: independent arrivals")
	fs.DurationVar(&f.duration, "duration", 15*time.Second, "length of the measured window")
	fs.DurationVar(&f.warmup, "warmup", 0, "load before the window, recorded and not measured")
	fs.Int64Var(&f.startAt, "start-at", 0, "start at this instant, in Unix nanoseconds (0: at once)")
	fs.Uint64Var(&f.seed, "seed", 1, "decides arrivals, users and choices of addresses; the client's name is mixed in")
	fs.IntVar(&f.clients, "clients", 50, "simulated users, each with its own DNS cache and connections")
	fs.IntVar(&f.maxInFlight, "max-in-flight", 0, "requests under way before those due are dropped (0: what the rate needs when every attempt times out)")

	fs.StringVar(&f.method, "method", http.MethodGet, "request method")
	fs.StringArrayVarP(&f.headers, "header", "H", nil, "request header 'Name: value'; Host replaces the URL's (repeatable)")
	fs.StringVar(&f.body, "body", "", "file with the request's body")
	fs.StringVar(&f.connection, "connection", "new", "new: one connection a request; keepalive: per user, used again")
	fs.IntVar(&f.perConn, "max-requests", 0, "keepalive: requests on one connection (0: no limit)")
	fs.DurationVar(&f.maxAge, "max-age", 0, "keepalive: age of a connection that is used again (0: no limit)")
	fs.DurationVar(&f.maxIdle, "max-idle", 90*time.Second, "keepalive: how long a connection may idle (0: no limit)")
	fs.DurationVar(&f.timeout, "timeout", 5*time.Second, "of one attempt, from its send: lookup, connect, TLS, reply to the last byte")
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
	fs.StringVar(&f.source, "source", "", "prefix routed to this machine; user n sends from its n-th address")

	fs.StringVar(&f.client, "client", hostname, "name of this generator in the samples")
	fs.StringVar(&f.out, "out", "", "directory for the results (default: none are kept)")
	fs.StringVarP(&f.output, "output", "o", "table", "format of the summary: table or json")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no progress on stderr")
	return c
}

func (f *httpFlags) run(ctx context.Context, url string, stdout, stderr io.Writer) error {
	habits, err := f.habits(url)
	if err != nil {
		return &cli.MisuseError{Err: err}
	}
	drawn := f.seeded("requests").Uint64()
	users, err := user.NewPopulation(f.clients, habits, f.seeded("users").Uint64())
	if err != nil {
		return cli.Misuse("--source: %w", err)
	}
	start := openloop.At(time.Now())
	if f.startAt != 0 {
		at := time.Unix(0, f.startAt)
		if late := time.Since(at); late > 0 {
			return cli.Misuse("--start-at is %s ago (hint: start generators some seconds ahead; are the clocks in step?)", late.Round(time.Millisecond))
		}
		start = openloop.At(at)
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	rec, err := record.New(f.out, start.Add(f.warmup), fail)
	if err != nil {
		return err
	}
	f.tune()
	loop := openloop.Loop{
		Start:       start,
		Schedule:    f.schedule(),
		Window:      f.warmup,
		Length:      f.warmup + f.duration,
		MaxInFlight: f.inFlight(),
		Do: func(h openloop.Hit) {
			users[userOf(drawn, h.Seq, len(users))].Do(h.Seq, h.Intended, rec.Add)
		},
		Drop: func(h openloop.Hit) {
			rec.Add(&results.Sample{
				Client: f.client, User: int32(userOf(drawn, h.Seq, len(users))), Seq: h.Seq,
				IntendedNs: h.Intended.UnixNano(), Error: results.ErrDropped,
			}, true, nil)
		},
		Open:  rec.Open,
		Close: rec.Shut,
	}
	stop := func() {}
	if !f.quiet {
		stop = showProgress(stderr, rec, start, loop.Length)
	}
	ran := loop.Run(ctx)
	stop()
	for _, u := range users {
		u.Close()
	}
	summary, err := rec.Close(ran == nil, f.duration)
	if err != nil && !errors.Is(ran, context.Canceled) {
		ran = nil // the writing error that ended the run is err
	}
	return errors.Join(writeSummary(stdout, f.output, f.describe(habits), summary), err, ran)
}

// habits checks the flags and returns what they mean for the users, or every error at once.
func (f *httpFlags) habits(url string) (*user.Habits, error) {
	var errs []error
	check := func(ok bool, format string, a ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	oneOf := func(flag, value string, allowed ...string) {
		check(slices.Contains(allowed, value), "--%s: unknown value %q (hint: %s)", flag, value, strings.Join(allowed, ", "))
	}
	check(f.rate > 0 && f.rate <= 1e6 && !math.IsNaN(f.rate), "--rate must be above 0 and at most 1e6, not %g", f.rate)
	check(f.duration > 0, "--duration must be positive")
	check(f.warmup >= 0, "--warmup must not be negative")
	check(f.clients > 0 && f.clients <= math.MaxInt32, "--clients must be positive")
	check(f.timeout > 0, "--timeout must be positive")
	check(f.attempts > 0, "--attempts must be at least 1")
	check(f.dnsAttempts > 0, "--dns-attempts must be at least 1")
	check(f.dnsTimeout >= 0, "--dns-timeout must not be negative")
	check(f.maxInFlight >= 0 && f.perConn >= 0 && f.maxAge >= 0 && f.maxIdle >= 0 && f.maxBody >= 0,
		"--max-in-flight, --max-requests, --max-age, --max-idle and --max-body must not be negative")
	check(f.startAt >= 0, "--start-at must not be negative")
	check(len(f.addresses) == 0 || f.resolver == "", "--addresses and --resolver exclude each other")
	oneOf("pacing", f.pacing, "constant", "poisson")
	oneOf("connection", f.connection, "new", "keepalive")
	oneOf("output", f.output, "table", "json")
	oneOf("family", f.family, string(user.Auto), string(user.IPv6), string(user.IPv4))

	h := &user.Habits{
		Client: f.client, Timeout: f.timeout, Attempts: f.attempts, MaxBody: f.maxBody,
		KeepAlive: f.connection == "keepalive", MaxRequests: f.perConn, MaxAge: f.maxAge, MaxIdle: f.maxIdle,
		Family: user.Family(f.family),
	}
	note := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%w", flag, err))
		}
	}
	var err error
	h.Target, err = f.target(url)
	note("", err)
	h.Order, err = dnsclient.ParseOrder(f.order)
	note("--order: ", err)
	h.DNS.TTL, err = dnsclient.ParseTTL(f.ttl)
	note("--ttl: ", err)
	for _, s := range f.addresses {
		a, err := netip.ParseAddr(s)
		note("--addresses: ", err)
		h.Addresses = append(h.Addresses, a)
	}
	if f.source != "" {
		h.Sources, err = netip.ParsePrefix(f.source)
		note("--source: ", err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
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

func (f *httpFlags) schedule() *openloop.Schedule {
	length := f.warmup + f.duration
	if f.pacing == "poisson" {
		return openloop.NewSchedule(openloop.Poisson{PerSecond: f.rate, Rng: f.seeded("arrivals")}, length, 0)
	}
	return openloop.NewSchedule(openloop.Constant(f.rate), length, openloop.Phase(f.rate, f.seeded("phase")))
}

// seeded returns the random numbers for one purpose: generators of one run have one seed and differ in name.
func (f *httpFlags) seeded(purpose string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, f.client+"\x00"+purpose)
	return rand.New(rand.NewPCG(f.seed, h.Sum64()))
}

// userOf returns which of n users makes request seq: a hash (splitmix64), so that users' requests
// are as irregular as people's, and the same for every run of a seed.
func userOf(seed, seq uint64, n int) int {
	z := seed*0x9e3779b97f4a7c15 + (seq+1)*0xbf58476d1ce4e5b9
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

// inFlight returns the bound on requests under way: by default what the rate needs when every
// attempt lasts until its timeout, within what file descriptors allow.
func (f *httpFlags) inFlight() int {
	if f.maxInFlight > 0 {
		return f.maxInFlight
	}
	n := f.rate*f.timeout.Seconds()*float64(f.attempts) + 64
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		n = min(n, 0.9*float64(limit.Cur))
	}
	return max(64, int(min(n, 1e6)))
}

// ratePerThread is the rate that one thread serves with most of it to spare.
const ratePerThread = 2000

// tune fits the Go runtime to a load generator, unless the environment says otherwise.
func (f *httpFlags) tune() {
	if os.Getenv("GOGC") == "" {
		// A request leaves little behind, and the live heap is a few MB: collect seldom.
		debug.SetGCPercent(800)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		// At a low rate, more threads only wake each other: half of the CPU time and most of the lag.
		runtime.GOMAXPROCS(min(runtime.NumCPU(), 1+int(f.rate/ratePerThread)))
	}
}

// describe says in a line what was done.
func (f *httpFlags) describe(h *user.Habits) string {
	connections := "new connection a request"
	if h.KeepAlive {
		connections = "keep-alive"
	}
	via := "no DNS asked"
	if h.AsksDNS() {
		via = fmt.Sprintf("resolver %v, TTL %s, %s address", h.DNS.Exchanger, h.DNS.TTL, h.Order)
	}
	return fmt.Sprintf("%s %s, %s %g/s, %d clients, %s, %s", f.method, h.Target.URL, f.pacing, f.rate, f.clients, connections, via)
}

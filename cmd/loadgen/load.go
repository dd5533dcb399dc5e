// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// loadFlags say when requests are due and where results go, whatever a request is.
type loadFlags struct {
	rate             float64 // the highest, where it changes
	pacing           string
	profile, trace   string
	paced            paced // what profile or trace say
	duration, warmup time.Duration
	startAt          string
	start            time.Time // what startAt says; zero: at once
	seed             uint64
	timeout          time.Duration
	maxInFlight      int

	bounds       record.Bounds
	maxClock     time.Duration
	requireValid bool
	find         findFlags

	client  string
	out     string
	thin    uint64
	output  string
	quiet   bool
	metrics string
	peers   []string
}

func (f *loadFlags) registerLoad(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.Float64Var(&f.rate, "rate", 100, "requests a second, when neither --profile nor --trace is given")
	fs.StringVar(&f.pacing, "pacing", "constant", "constant, or poisson: independent arrivals")
	fs.StringVar(&f.profile, "profile", "", "a rate that changes, in place of --rate: steps:100@10s,400@5s,100  ramp:100..1000@30s  sine:500~200@1m  spike:100..2000@10s+3s")
	fs.StringVar(&f.trace, "trace", "", "file of recorded instants to send at, in place of --rate and --pacing: one a line, in seconds, in order")
	fs.DurationVar(&f.duration, "duration", 15*time.Second, "length of the measured window")
	fs.DurationVar(&f.warmup, "warmup", 0, "load before the window, recorded and not measured")
	fs.StringVar(&f.startAt, "start-at", "", "start at this instant: Unix nanoseconds, or 2026-01-02T15:04:05Z (default: at once)")
	fs.Uint64Var(&f.seed, "seed", 1, "decides whatever is drawn; the client's name is mixed in")
	fs.DurationVar(&f.timeout, "timeout", 5*time.Second, "of one attempt, from its send")
	fs.IntVar(&f.maxInFlight, "max-in-flight", 0, "requests under way before those due are dropped (0: what the rate needs when every attempt times out)")
	fs.DurationVar(&f.bounds.LagP99, "max-lag", 10*time.Millisecond, "p99 of the send lag beyond which the run is invalid (0: any)")
	fs.Float64Var(&f.bounds.CPU, "max-cpu", 0.7, "share of its CPUs beyond which the run is invalid (0: any)")
	fs.BoolVar(&f.requireValid, "require-valid", false, "exit with 1 when the run is whole and invalid")
	f.find.register(fs)
}

func (f *loadFlags) registerOutput(fs *pflag.FlagSet) {
	hostname, _ := os.Hostname()
	fs.StringVar(&f.client, "client", hostname, "name of this generator in the samples")
	fs.StringVar(&f.out, "out", "", "directory for the results (default: none are kept)")
	fs.Uint64Var(&f.thin, "thin", 1, "keep of the successful attempts one in this many; histograms and counts stay whole")
	fs.StringVarP(&f.output, "output", "o", "table", "format of the summary: table or json")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no progress on stderr")
	fs.StringVar(&f.metrics, "metrics", "", "address to serve /metrics (Prometheus), the live view of 'loadgen watch' and the clock check on, as [::1]:9464")
	fs.StringSliceVar(&f.peers, "peers", nil, "addresses of other generators' --metrics: their clocks are checked before and after")
	fs.DurationVar(&f.maxClock, "max-clock", 10*time.Millisecond, "how far a peer's clock may be off before the run is invalid (0: any)")
}

// problems collects what is wrong with flags, to be told all at once.
type problems []error

func (p *problems) check(ok bool, format string, a ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf(format, a...))
	}
}

func (p *problems) oneOf(flag, value string, allowed ...string) {
	p.check(slices.Contains(allowed, value), "%s: unknown value %q (hint: %s)", flag, value, strings.Join(allowed, ", "))
}

// note takes an error that came with a flag.
func (p *problems) note(flag string, err error) {
	if err != nil {
		*p = append(*p, fmt.Errorf("%s: %w", flag, err))
	}
}

func (f *loadFlags) checkLoad(p *problems) {
	p.check(f.rate >= 1e-6 && f.rate <= 1e6, "--rate must be above 0, at least 1e-6 and at most 1e6, not %g", f.rate)
	p.check(f.duration > 0, "--duration must be positive")
	p.check(f.warmup >= 0, "--warmup must not be negative")
	p.note("--start-at", f.readStart())
	p.check(f.timeout > 0, "--timeout must be positive")
	p.check(f.maxInFlight >= 0, "--max-in-flight must not be negative")
	p.oneOf("--pacing", f.pacing, "constant", "poisson")
	p.note("--profile", f.readProfile())
	p.note("--trace", f.readTrace())
	p.check(f.bounds.LagP99 >= 0 && f.bounds.CPU >= 0 && f.maxClock >= 0, "--max-lag, --max-cpu and --max-clock must not be negative")
	p.check(f.thin > 0, "--thin must be positive")
	p.check(len(f.peers) == 0 || f.metrics != "", "--peers needs --metrics: peers ask for this clock too (hint: --metrics [::]:9464)")
	for _, peer := range f.peers {
		_, _, err := net.SplitHostPort(peer)
		p.note("--peers", err)
	}
	f.find.check(p, f)
	p.oneOf("--output", f.output, "table", "json")
}

// readStart reads an instant in Unix nanoseconds or as RFC 3339 has it.
func (f *loadFlags) readStart() error {
	if f.startAt == "" || f.startAt == "0" {
		return nil
	}
	if ns, err := strconv.ParseInt(f.startAt, 10, 64); err == nil && ns > 0 {
		f.start = time.Unix(0, ns)
		return nil
	}
	var err error
	if f.start, err = time.Parse(time.RFC3339Nano, f.startAt); err != nil {
		return fmt.Errorf("%q is no instant (hint: Unix nanoseconds, or 2026-01-02T15:04:05.000Z)", f.startAt)
	}
	return nil
}

// paced is what says how often requests are due at most, for what has to be made ready for them.
type paced interface {
	Peak() float64
	String() string
}

func (f *loadFlags) readProfile() error {
	if f.profile == "" {
		return nil
	}
	p, err := openloop.ParseProfile(f.profile)
	if err != nil {
		return err
	}
	f.rate, f.paced = p.Peak(), p
	return nil
}

func (f *loadFlags) readTrace() error {
	switch {
	case f.trace == "":
		return nil
	case f.profile != "":
		return errors.New("--profile and --trace exclude each other")
	case f.warmup > 0:
		return errors.New("a trace has no --warmup (hint: cut the trace where the load is to be measured)")
	}
	t, err := openloop.ReadTrace(f.trace)
	if err != nil {
		return err
	}
	f.rate, f.paced = t.Peak(), t
	return nil
}

// describeLoad says in a few words when requests are due.
func (f *loadFlags) describeLoad() string {
	switch {
	case f.trace != "":
		return f.paced.String()
	case f.paced != nil:
		return f.pacing + " " + f.paced.String()
	default:
		return fmt.Sprintf("%s %g/s", f.pacing, f.rate)
	}
}

func (f *loadFlags) schedule() *openloop.Schedule {
	length := f.warmup + f.duration
	switch p := f.paced.(type) {
	case *openloop.Trace:
		return openloop.NewSchedule(p, length, 0)
	case openloop.Profile:
		if f.pacing == "poisson" {
			return openloop.NewSchedule(openloop.Independent(p, f.warmup, length, f.seeded("arrivals")), length, 0)
		}
		return openloop.NewSchedule(openloop.Even(p, f.warmup, length, f.seeded("phase")), length, 0)
	}
	if f.pacing == "poisson" {
		return openloop.NewSchedule(openloop.Poisson{PerSecond: f.rate, Rng: f.seeded("arrivals")}, length, 0)
	}
	return openloop.NewSchedule(openloop.Constant(f.rate), length, openloop.Phase(f.rate, f.seeded("phase")))
}

// seeded returns the random numbers for one purpose: generators of one run have one seed and differ in name.
func (f *loadFlags) seeded(purpose string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, f.client+"\x00"+purpose)
	return rand.New(rand.NewPCG(f.seed, h.Sum64()))
}

// userOf returns which of n users makes request seq: a hash (splitmix64), so that users' requests
// are as irregular as people's, and the same for every run of a seed.
func userOf(seed, seq uint64, n int) int {
	z := seed + (seq+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

// inFlight returns the bound on requests under way: by default what the rate needs when every attempt lasts until its
// timeout, within what file descriptors allow; a flow needs few of those.
func (f *loadFlags) inFlight(j *job) int {
	if f.maxInFlight > 0 {
		return f.maxInFlight
	}
	n := f.rate*(f.timeout.Seconds()*float64(j.attempts)+j.hold.Seconds()) + 64
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && j.flow == nil {
		n = min(n, 0.9*float64(limit.Cur))
	}
	return max(64, int(min(n, 1e6)))
}

// ratePerThread is the rate that one thread serves with most of it to spare.
const ratePerThread = 4000

// tune fits the Go runtime to a load generator, unless the environment says otherwise.
func (f *loadFlags) tune(j *job) {
	if os.Getenv("GOGC") == "" {
		// A request leaves little behind, and the live heap is a few MB: collect seldom.
		debug.SetGCPercent(800)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(j.threads(f.rate, runtime.NumCPU()))
	}
}

// threads returns how many threads are to run Go code at a rate, on a machine of so many CPUs.
func (j *job) threads(rate float64, cpus int) int {
	// At a low rate, more threads only wake each other: a fifth to a third of the CPU time, and lag.
	n := min(cpus, 1+int(rate*max(j.weight, 1)/ratePerThread))
	if j.lone {
		// The runtime takes the processor from a thread that waits in a system call, unless another one is idle. To take the
		// only one it wakes every 20 µs, which costs more than the queries do.
		return max(n, 2)
	}
	return n
}

// cpus returns how many CPUs the generator may use; a lone thread uses one.
func (j *job) cpus() int {
	if j.lone {
		return 1
	}
	return min(runtime.GOMAXPROCS(0), runtime.NumCPU())
}

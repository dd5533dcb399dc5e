// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// Secondary is a zone that comes from other servers.
type Secondary struct {
	Origin string
	// Primaries are asked in this order; the one that has answered is kept to until it fails.
	Primaries []Remote
}

const (
	// firstRetry is how soon primaries are asked again that have never answered; it doubles up to the minute.
	firstRetry = time.Second
	mostRetry  = time.Minute
	// askGap is between two looks at the primaries at least, however many NOTIFYs come.
	askGap = 50 * time.Millisecond
	// lineIdle is how long a connection is kept open for another transfer, RFC 7766 §6.2.3.
	lineIdle = 2 * time.Second
	// transferMost is how long one transfer may take, however steadily it goes on.
	transferMost = 30 * time.Minute
	// leastTimer is the shortest time that a SOA can ask for.
	leastTimer = time.Second
	// largeZone is the number of names from which on memory is given back after a whole transfer.
	largeZone = 100_000
)

// follower keeps one zone what its primaries have. After New only its own goroutine uses what is not fixed.
type follower struct {
	service   *Service
	origin    string
	primaries []Remote
	log       *slog.Logger
	store     *store
	wake      chan struct{}

	zone      *zone.Zone // nil: none
	authority authority
	from      int       // the primary that it came from; -1: the disk
	lead      int       // the primary that is asked first
	confirmed time.Time // when a primary last said that zone is the newest
	failures  int       // in succession
	cause     string    // of the last one
	expired   bool      // nothing is answered
	unproven  bool      // it has been said that signatures are of no use here
	useless   string    // why there was no difference, logged; "": there was
	told      bool      // a primary has said that there is something new
	line      *Line     // to the primary with number lineTo; nil: none yet
	lineTo    int
}

// newFollower puts into the catalog what the disk has of the zone, or that it is not there yet.
func newFollower(s *Service, c Secondary) (*follower, error) {
	if _, ok := dns.IsDomainName(c.Origin); !ok || c.Origin == "" {
		return nil, fmt.Errorf("%q is no domain name", c.Origin)
	}
	f := &follower{
		service: s, origin: dns.CanonicalName(c.Origin), primaries: c.Primaries, from: -1, wake: make(chan struct{}, 1),
	}
	f.log = s.options.Log.With("zone", f.origin)
	if len(c.Primaries) == 0 {
		return nil, fmt.Errorf("zone %s has no primary", f.origin)
	}
	if s.secondaries[f.origin] != nil || s.options.Catalog.Zone(f.origin) != nil {
		return nil, fmt.Errorf("zone %s is here twice", f.origin)
	}
	if s.options.State != "" {
		f.store = newStore(s.options.State, f.origin, f.log)
		z, confirmed, err := f.store.load()
		switch {
		case err != nil:
			f.log.Warn("the zone kept on disk is of no use", "error", err)
		case z != nil && time.Since(confirmed) < timer(soaOf(z).Expire):
			if z, err = f.sign(z); err != nil {
				return nil, err
			}
			f.zone, f.confirmed, f.store.saved = z, confirmed, z
			f.log.Info("serving the zone kept on disk", "serial", z.Serial(), "names", z.Len(), "confirmed", confirmed)
			s.options.Catalog.Publish(z)
			s.metrics.expired.WithLabelValues(f.origin).Set(0)
			return f, nil
		}
	}
	return f, f.withhold()
}

// sign makes a whole zone ready to be published. What is made of it later stays so.
func (f *follower) sign(z *zone.Zone) (*zone.Zone, error) {
	if f.service.options.Sign == nil {
		return z, nil
	}
	return f.service.options.Sign(z)
}

// withhold has the zone answered with SERVFAIL.
func (f *follower) withhold() error {
	z, err := zone.Unavailable(f.origin)
	if err != nil {
		return err
	}
	f.expired = true
	f.service.metrics.expired.WithLabelValues(f.origin).Set(1)
	f.service.options.Catalog.Publish(z)
	return nil
}

// Tell implements Listener: the primaries are asked now.
func (f *follower) Tell() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run follows the primaries until ctx ends.
func (f *follower) run(ctx context.Context) {
	if f.store != nil {
		f.service.wait.Go(func() { f.store.run(ctx, f.service.options.Replaced) })
	}
	defer f.hangUp()
	for {
		begin := time.Now()
		err := f.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		f.report(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(askGap - time.Since(begin)):
		}
		if !f.rest(ctx) {
			return
		}
		f.expire(time.Now())
	}
}

// rest waits until it is time to ask the primaries again, and tells whether it is before ctx ends.
func (f *follower) rest(ctx context.Context) bool {
	timer, idle := time.NewTimer(f.next(time.Now())), time.NewTimer(lineIdle)
	defer timer.Stop()
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-f.wake:
			f.told = true
			return true
		case <-timer.C:
			f.told = false
			return true
		case <-idle.C:
			f.hangUp()
		}
	}
}

// hangUp closes the connection that was kept.
func (f *follower) hangUp() {
	if f.line != nil {
		f.line.Close()
	}
}

// report logs the first of a row of failures, and each other cause.
func (f *follower) report(err error) {
	if err == nil {
		if f.failures > 0 {
			f.log.Info("following a primary again", "primary", f.primaries[f.lead].String(), "failures", f.failures)
		}
		f.failures, f.cause = 0, ""
		return
	}
	f.failures++
	if err.Error() == f.cause {
		return
	}
	f.cause = err.Error()
	if f.zone == nil {
		f.log.Warn("no primary gives the zone", "error", err)
	} else {
		f.log.Warn("no primary confirms the zone; it stays as it is until it expires", "serial", f.zone.Serial(), "expires", f.expires().Truncate(time.Second), "error", err)
	}
}

// next is how long to wait before the primaries are asked again, less by chance by up to a tenth, so that many
// zones do not ask at once.
func (f *follower) next(now time.Time) time.Duration {
	var wait time.Duration
	switch soa := f.soa(); {
	case soa == nil:
		wait = min(firstRetry<<min(max(f.failures-1, 0), 10), mostRetry)
	case f.failures > 0:
		wait = timer(soa.Retry)
	default:
		wait = timer(soa.Refresh)
	}
	wait -= rand.N(wait/10 + 1)
	if f.zone != nil && !f.expired {
		wait = min(wait, max(f.expires().Sub(now), 0))
	}
	return wait
}

// expire stops answering from a zone that nobody has confirmed for too long.
func (f *follower) expire(now time.Time) {
	if f.zone == nil || f.expired || now.Before(f.expires()) {
		return
	}
	f.log.Error("the zone has expired; answering SERVFAIL", "serial", f.zone.Serial(), "confirmed", f.confirmed)
	if err := f.withhold(); err != nil {
		f.log.Error("withholding the zone", "error", err)
	}
	f.zone, f.from, f.authority = nil, -1, authority{} // whatever a primary has is better
}

// authority is the SOA of a zone, read once: its times are looked at again and again.
type authority struct {
	of  *zone.Zone
	soa *dns.SOA
}

// soa is that of the zone; nil where there is none.
func (f *follower) soa() *dns.SOA {
	if f.zone == nil {
		return nil
	}
	if f.authority.of != f.zone {
		f.authority = authority{f.zone, soaOf(f.zone)}
	}
	return f.authority.soa
}

// expires is when the zone, which is there, is of no use any more if no primary confirms it until then.
func (f *follower) expires() time.Time { return f.confirmed.Add(timer(f.soa().Expire)) }

func soaOf(z *zone.Zone) *dns.SOA {
	rr, err := z.SOA().RR()
	soa, ok := rr.(*dns.SOA)
	if err != nil || !ok { // the zone was compiled with it
		panic(fmt.Sprintf("transfer: reading the SOA of %s: %v", z.Origin(), err))
	}
	return soa
}

func timer(seconds uint32) time.Duration {
	return max(time.Duration(seconds)*time.Second, leastTimer)
}

var (
	errExpired = errors.New("the zone has expired meanwhile")
	errLong    = fmt.Errorf("a transfer that takes more than %v", transferMost)
)

// refresh asks one primary after the other until one has or confirms the zone, or until that expires.
func (f *follower) refresh(ctx context.Context) error {
	if f.zone != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadlineCause(ctx, f.expires(), errExpired)
		defer stop()
	}
	var errs []string
	for i := range f.primaries {
		p := (f.lead + i) % len(f.primaries)
		err := f.ask(ctx, p)
		if err == nil {
			f.lead = p
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		errs = append(errs, f.primaries[p].String()+": "+err.Error())
	}
	return errors.New(strings.Join(errs, "; "))
}

// ask gets the zone from a primary where that has a newer one.
func (f *follower) ask(ctx context.Context, p int) error {
	c := client{to: f.primaries[p], key: f.service.options.Keys[f.primaries[p].Key]}
	count := func(kind string, err error) {
		result := "done"
		if err != nil {
			result = "failed"
		}
		f.service.metrics.in.WithLabelValues(f.origin, kind, result).Inc()
	}
	// The history of one primary says nothing of that of another (nor, on disk, of whose it was before a restart
	// with another list): a difference is asked of the one alone that the zone came from.
	known := f.zone != nil && (f.from == p || f.from < 0 && p == 0)
	var useless error // why there is no difference
	difference := func() (done bool, err error) {
		z, whole, foreign, offered, err := f.transfer(ctx, c, p, f.zone)
		count("ixfr", err)
		switch {
		case err != nil:
		case z == nil && (!f.told || offered != f.zone.Serial()):
			err = fmt.Errorf("it offers serial %d", offered)
		case z != nil && !newer(z.Serial(), f.zone.Serial()):
			err = fmt.Errorf("it gives serial %d", z.Serial())
		}
		if useless = err; err != nil {
			return false, nil
		}
		if z != nil {
			f.useless = ""
		}
		return true, f.take(z, p, whole, foreign)
	}
	asked := known && f.told // the SOA is in its answer too
	if asked {
		if done, err := difference(); done {
			return err
		}
	}
	soa, err := c.soa(ctx, newQuestion(f.origin, dns.TypeSOA))
	count("soa", err)
	if err != nil {
		return fmt.Errorf("asking for the SOA: %w", err)
	}
	serial := soa.Serial
	if f.zone != nil {
		if serial == f.zone.Serial() {
			f.confirm()
			return nil
		}
		if newer(f.zone.Serial(), serial) {
			return fmt.Errorf("it has serial %d, which is older than %d here", serial, f.zone.Serial())
		}
	}
	if known {
		if !asked {
			if done, err := difference(); done {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		level := slog.LevelInfo
		if useless.Error() == f.useless {
			level = slog.LevelDebug
		}
		f.useless = useless.Error()
		f.log.Log(ctx, level, "a difference was of no use; asking for the whole zone", "primary", f.primaries[p].String(), "error", useless)
	}
	z, whole, foreign, _, err := f.transfer(ctx, c, p, nil)
	count("axfr", err)
	if err != nil {
		return fmt.Errorf("transferring the zone: %w", err)
	}
	if z == nil || f.zone != nil && !newer(z.Serial(), f.zone.Serial()) { // it had said another
		return errors.New("transferring the zone: it gives no newer one")
	}
	return f.take(z, p, whole, foreign)
}

// take publishes what came from a primary; nil is nothing new.
func (f *follower) take(z *zone.Zone, p int, whole bool, foreign int) error {
	if z != nil {
		if whole {
			var err error
			if z, err = f.sign(z); err != nil {
				return fmt.Errorf("signing the zone: %w", err)
			}
		}
		if foreign > 0 {
			f.log.Warn("ignoring records that are outside the zone", "records", foreign, "primary", f.primaries[p].String())
		}
		if !f.unproven && z.Signer() == nil && z.Has(dns.TypeDNSKEY) {
			f.unproven = true
			f.log.Warn("the zone is signed and its keys are not here; its data are answered without proof")
		}
		level := slog.LevelDebug
		if whole {
			level = slog.LevelInfo
		}
		f.log.Log(context.Background(), level, "received the zone", "serial", z.Serial(), "names", z.Len(), "whole", whole, "primary", f.primaries[p].String())
		f.service.giveWay()
		f.zone, f.expired = z, false
		f.service.options.Catalog.Publish(z)
		f.service.metrics.expired.WithLabelValues(f.origin).Set(0)
		if whole && z.Len() > largeZone {
			debug.FreeOSMemory() // what receiving has left behind
		}
	}
	f.from = p
	f.confirm()
	return nil
}

// confirm notes that what is here is what the primary has.
func (f *follower) confirm() {
	f.confirmed = time.Now()
	f.service.metrics.refreshed.WithLabelValues(f.origin).Set(float64(f.confirmed.Unix()))
	if f.store != nil {
		f.store.keep(f.zone, f.confirmed)
	}
}

// transfer gets the zone: what is new since have, or all of it. offered is the serial that the primary has.
func (f *follower) transfer(ctx context.Context, c client, p int, have *zone.Zone) (z *zone.Zone, whole bool, foreign int, offered uint32, err error) {
	if f.line == nil || f.lineTo != p {
		f.hangUp()
		f.line, f.lineTo = &Line{client: c, giveWay: f.service.options.GiveWay}, p
	}
	ctx, stop := context.WithTimeoutCause(ctx, transferMost, errLong)
	defer stop()
	return f.line.transfer(ctx, f.origin, have, f.soa())
}

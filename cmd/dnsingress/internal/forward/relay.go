// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// failureLife is for how long a question is not asked again when nobody could answer it: RFC 9520 §3.2.
	failureLife = time.Second
	// staleRecheck is the same where a stale answer is given (RFC 8767 §5), as long as no server comes back.
	staleRecheck = 30 * time.Second
	// stalePatience is how long who asks waits before an answer that is stale does (RFC 8767 §5).
	stalePatience = 1800 * time.Millisecond
	// mostTries is how often servers are asked for one question.
	mostTries = 6
)

// result is what became of a client's question.
type result int

const (
	cached  result = iota
	asked          // a server answered
	stale          // no server answered, an old answer was given
	failed         // nothing was
	looped         // it came back from a server that it was sent to
	results        // how many there are
)

func (r result) String() string { return [...]string{"cached", "asked", "stale", "failed", "loop"}[r] }

// relay forwards the questions of one zone.
type relay struct {
	zone    Zone
	servers []*upstream
	cache   *cache
	open    chan struct{}   // has room for the questions to servers under way
	work    context.Context // of them
	turn    atomic.Uint32   // of round robin
	back    atomic.Uint32   // counts servers that were up again
	counts  [results]atomic.Uint64

	mu      sync.Mutex
	flights map[way]*flight
}

// way is a question with the path that it came along. What came along another is another question to servers: they refuse
// what has been to them, or came through too many.
type way struct {
	question question
	path     string
}

func wayOf(q question, path []mark) way {
	var b []byte
	for _, m := range path {
		b = append(b, m[:]...)
	}
	return way{q, string(b)}
}

// flight is a question under way, for all who ask it meanwhile. Its entry stands when done is closed.
type flight struct {
	done  chan struct{}
	entry entry
}

// given is what a client's question is answered with.
type given struct {
	message  message       // none where result is failed or looped
	age      time.Duration // since it was got
	result   result
	extended uint16 // error, RFC 8914; 0: none
}

// answer finds the answer to a client's question, which came along a path of forwarders.
func (r *relay) answer(ctx context.Context, q question, path []mark) given {
	g := r.find(ctx, q, path)
	r.counts[g.result].Add(1)
	return g
}

func (r *relay) find(ctx context.Context, q question, path []mark) given {
	now := time.Now()
	e, known := r.cache.get(q, now)
	if known && e.fresh(now) {
		if e.failed != 0 {
			return given{result: failed, extended: e.failed}
		}
		return given{message: e.message, age: now.Sub(e.came), result: cached}
	}
	if known && (now.Before(e.retry) && e.back == r.back.Load() || !r.reachable()) {
		return old(e)
	}
	f := r.join(q, path, known)
	var enough <-chan time.Time
	if known {
		timer := time.NewTimer(min(stalePatience, r.zone.Timeout))
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-f.done:
	case <-enough:
		return old(e)
	case <-ctx.Done():
		return given{result: failed, extended: dns.ExtendedErrorCodeNotReady}
	}
	switch {
	case f.entry.failed == 0:
		return given{message: f.entry.message, result: asked}
	case known:
		return old(e)
	}
	return given{result: failed, extended: f.entry.failed}
}

// old gives an answer that is stale.
func old(e entry) given {
	g := given{message: e.message, result: stale, extended: dns.ExtendedErrorCodeStaleAnswer}
	if e.message.rcode() == dns.RcodeNameError {
		g.extended = dns.ExtendedErrorCodeStaleNXDOMAINAnswer
	}
	return g
}

// reachable tells whether a server is up.
func (r *relay) reachable() bool {
	for _, u := range r.servers {
		if u.held() == Up {
			return true
		}
	}
	return false
}

// join returns the flight of a question, and begins it where there is none. Where a stale answer is known, a failure does
// not take its place.
func (r *relay) join(q question, path []mark, known bool) *flight {
	w := wayOf(q, path)
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[w]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	r.flights[w] = f
	go func() {
		begin, back := time.Now(), r.back.Load()
		m, life, err := r.resolve(q, path)
		if err == nil {
			f.entry = entry{message: m, came: begin, life: life}
			r.cache.put(q, f.entry)
		} else {
			f.entry = entry{failed: reasonOf(err), came: time.Now(), life: failureLife}
			switch {
			case len(path) > 0 && said(err): // the path may be why, and anybody can make one up: other clients must not suffer for it
			case known:
				r.cache.postpone(q, time.Now().Add(staleRecheck), back)
			default:
				r.cache.put(q, f.entry)
			}
		}
		r.mu.Lock()
		delete(r.flights, w)
		r.mu.Unlock()
		close(f.done)
	}()
	return f
}

// reasonOf is the extended error of a question that no server answered.
func reasonOf(err error) uint16 {
	if said(err) {
		return dns.ExtendedErrorCodeNetworkError // there was an exchange, and no use in it: RFC 8914 §4.24
	}
	return dns.ExtendedErrorCodeNoReachableAuthority
}

// order gives the servers to ask, the first first: those that are up or, where none is, those that are down.
func (r *relay) order() []*upstream {
	var up, down []*upstream
	for _, u := range r.servers {
		switch u.held() {
		case Up:
			up = append(up, u)
		case Down:
			down = append(down, u)
		}
	}
	if len(up) == 0 {
		up = down
	}
	if n := len(up); n > 1 && r.zone.Policy == RoundRobin {
		k := int(r.turn.Add(1) % uint32(n))
		up = append(up[k:n:n], up[:k]...)
	}
	return up
}

// errLoops says that nobody is left to ask.
var errLoops = errors.New("every server leads back here")

// errBusy says that too many questions are under way.
var errBusy = errors.New("too many questions are under way")

// reply is what came of asking one server.
type reply struct {
	from    *upstream
	message message
	life    time.Duration
	err     error
}

// resolve asks the servers, the next one as soon as one fails or takes longer than it usually does, each twice at most. The
// first good answer counts; who is slower is not told to stop, because how it does is worth knowing.
func (r *relay) resolve(q question, path []mark) (message, time.Duration, error) {
	ctx, cancel := context.WithTimeout(r.work, 2*r.zone.Timeout)
	defer cancel()
	servers := r.order()
	if len(servers) == 0 {
		return message{}, 0, errLoops
	}
	tries := append(servers[:len(servers):len(servers)], servers...)
	tries = tries[:min(len(tries), mostTries)]
	replies := make(chan reply, len(tries))
	stated := map[*upstream]bool{} // asking these again is of no use
	next := time.NewTimer(0)
	defer next.Stop()
	last := error(errSilent)
	for open := 0; ; {
		select {
		case <-ctx.Done():
			return message{}, 0, last
		case a := <-replies:
			if a.err == nil {
				return a.message, a.life, nil
			}
			open--
			last = a.err
			stated[a.from] = said(a.err)
		case <-next.C:
		}
		for len(tries) > 0 && stated[tries[0]] {
			tries = tries[1:]
		}
		switch {
		case len(tries) == 0 && open == 0:
			return message{}, 0, last
		case len(tries) == 0:
			continue
		}
		u := tries[0]
		tries = tries[1:]
		select {
		case r.open <- struct{}{}:
		default:
			last = errBusy
			next.Reset(leastPatience)
			continue
		}
		open++
		go func() {
			defer func() { <-r.open }()
			replies <- r.try(u, q, path)
		}()
		next.Reset(u.patience())
	}
}

// try asks one server.
func (r *relay) try(u *upstream, q question, path []mark) reply {
	a := reply{from: u}
	m, err := u.ask(r.work, q, path)
	if err == nil {
		a.life, err = trim(m, r.zone.Name, r.zone.MaxTTL)
	}
	if err == nil {
		a.message, err = compile(m)
	}
	switch {
	case r.work.Err() != nil:
		a.err = errSilent
	case err != nil:
		u.bad(err, false)
		a.err = fmt.Errorf("%v: %w", u.to, err)
	default:
		u.good()
	}
	return a
}

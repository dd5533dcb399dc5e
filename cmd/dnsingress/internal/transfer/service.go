// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Options of a Service. Catalog and Log are required.
type Options struct {
	Catalog *zone.Catalog
	Keys    Keys
	// Policies say, by canonical origin, who gets a zone; Default is for the zones that are not there.
	Policies map[string]Policy
	Default  Policy
	// Private are zones that there are for those alone whom their policies name: by transfers, and by questions that are
	// signed. nil: none.
	Private *zone.Catalog
	// Denied is told of everybody else who asks for one of them with a signature or for a transfer: whose the zone is, who
	// asked, by which key, and why it is refused. It must not block. nil: nobody is told.
	Denied func(origin string, from netip.Addr, key, why string)
	// Listeners are told of NOTIFYs, by the canonical origins of zones that are no Secondaries.
	Listeners map[string]Listener
	// Secondaries are zones that come from other servers.
	Secondaries []Secondary
	// State is a directory that secondaries keep their zones in, so that a restart serves at once; "": none.
	State string
	// Sign makes whole zones that come from other servers ready to be published; nil: they are as they come.
	Sign func(*zone.Zone) (*zone.Zone, error)
	// Answering gives what is closed when the server answers: nobody is told of changes before. nil: it does from the
	// start.
	Answering func() <-chan struct{}
	// GiveWay is called now and then in the course of work on a zone and before messages, and returns when more pressing work is done;
	// nil: there is none.
	GiveWay func()
	// Beside is for how long, after that, the process before may answer too; 0: there is none.
	Beside time.Duration
	// Replaced is the cause with which Run's ctx ends where another process has taken over what State holds; nil: none.
	Replaced error
	// Updater takes DNS UPDATEs; nil: they are not implemented.
	Updater Updater
	// Signed gives a zone that has a signer as zone.Zone.SignedRecords has it, and always whole.
	Signed     bool
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Policy is who may have a zone and who is told when it changes.
type Policy struct {
	Allow  Access
	Notify []Remote
}

// Service gives zones to other servers and gets zones from them. It is a server.Handler.
type Service struct {
	options     Options
	metrics     *metrics
	secondaries map[string]*follower // by canonical origin

	mu    sync.Mutex
	zones map[string]*outgoing // by canonical origin
	work  context.Context      // of Run; nil before others are told of changes
	ended bool                 // nothing begins any more
	wait  sync.WaitGroup
}

// outgoing is a zone that others may have.
type outgoing struct {
	journal   journal
	notifiers []*notifier
	trouble   atomic.Pointer[string] // of the last transfer, which was logged; nil: none
}

// New checks the options and takes note, from now on, of every zone that the catalog gets.
func New(o Options) (*Service, error) {
	s := &Service{options: o, zones: map[string]*outgoing{}, secondaries: map[string]*follower{}}
	if err := o.check(); err != nil {
		return nil, err
	}
	var err error
	if s.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, err
	}
	for _, c := range []*zone.Catalog{o.Catalog, o.Private} {
		if c == nil {
			continue
		}
		c.Follow(s.follow)
		for _, e := range c.Zones() {
			s.follow(nil, e.Zone)
		}
	}
	for _, c := range o.Secondaries {
		f, err := newFollower(s, c)
		if err != nil {
			return nil, err
		}
		s.secondaries[f.origin] = f
	}
	return s, nil
}

// check finds the keys that are named and not there.
func (o Options) check() error {
	var errs []error
	need := func(key, by string) {
		if key != "" && o.Keys[key] == nil {
			errs = append(errs, fmt.Errorf("%s: there is no TSIG key %s", by, key))
		}
	}
	policies := []Policy{o.Default}
	for _, p := range o.Policies {
		policies = append(policies, p)
	}
	for _, p := range policies {
		for _, g := range p.Allow {
			need(g.Key, g.String())
		}
		for _, r := range p.Notify {
			need(r.Key, r.String())
		}
	}
	for _, c := range o.Secondaries {
		for _, r := range c.Primaries {
			need(r.Key, c.Origin+" from "+r.String())
		}
	}
	return errors.Join(errs...)
}

// Run tells others of changes and follows the primaries until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	s.wait.Go(func() { s.tell(ctx) })
	for _, f := range s.secondaries {
		s.wait.Go(func() { f.run(ctx) })
	}
	<-ctx.Done()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wait.Wait()
	return nil
}

// tell begins to tell others of changes once they can ask about them. Where another process may have answered those who
// asked, all are told once more when it is gone.
func (s *Service) tell(ctx context.Context) {
	if s.options.Answering != nil {
		select {
		case <-ctx.Done():
			return
		case <-s.options.Answering():
		}
	}
	s.mu.Lock()
	s.work = ctx
	for _, z := range s.zones {
		for _, n := range z.notifiers {
			s.wait.Go(func() { n.run(ctx) })
		}
	}
	s.mu.Unlock()
	if s.options.Beside == 0 {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(s.options.Beside):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, z := range s.zones {
		for _, n := range z.notifiers {
			n.again()
		}
	}
}

// policy returns what holds for a zone.
func (s *Service) policy(origin string) Policy {
	if p, ok := s.options.Policies[origin]; ok {
		return p
	}
	return s.options.Default
}

// follow takes note of a zone that is published.
func (s *Service) follow(_, after *zone.Zone) {
	if after == nil {
		return // withdrawn: nobody finds it in the catalog
	}
	policy := s.policy(after.Origin())
	if len(policy.Allow) == 0 && len(policy.Notify) == 0 {
		return
	}
	s.mu.Lock()
	out := s.zones[after.Origin()]
	if out == nil {
		out = &outgoing{journal: journal{limit: journalSize}}
		for _, to := range policy.Notify {
			n := newNotifier(s, after.Origin(), to)
			out.notifiers = append(out.notifiers, n)
			if s.work != nil && !s.ended {
				s.wait.Go(func() { n.run(s.work) })
			}
		}
		s.zones[after.Origin()] = out
	}
	s.mu.Unlock()
	out.journal.publish(after)
	if after.Available() {
		for _, n := range out.notifiers {
			n.tell(after.SOA())
		}
	}
}

// request is a message that is being answered.
type request struct {
	*server.Exchange
	msg     []byte // without its signature
	end     int    // of its question
	key     string // that it is well signed with; "": not signed
	session *session
	sig     *signature // that it is well signed with; nil: not signed
}

// giveWay has what is more pressing done first.
func (s *Service) giveWay() {
	if s.options.GiveWay != nil {
		s.options.GiveWay()
	}
}

// Handle implements server.Handler.
func (s *Service) Handle(ctx context.Context, x *server.Exchange) {
	s.giveWay()
	q := &request{Exchange: x, msg: x.Query}
	sig, err := readSignature(x.Query)
	if err != nil {
		q.fail(dns.RcodeFormatError)
		return
	}
	if sig != nil && !s.authenticate(q, sig) {
		return
	}
	var m dns.Msg
	l, err := survey(q.msg)
	if err != nil || m.Unpack(q.msg) != nil || len(m.Question) != 1 {
		q.fail(dns.RcodeFormatError)
		return
	}
	q.end = l.end
	switch qtype := m.Question[0].Qtype; {
	case m.Opcode == dns.OpcodeNotify:
		s.notified(q, &m)
	case m.Opcode == dns.OpcodeUpdate:
		s.update(q, &m)
	case m.Opcode == dns.OpcodeQuery && (qtype == dns.TypeAXFR || qtype == dns.TypeIXFR):
		s.give(ctx, q, &m)
	case s.confide(q, &m):
	case s.inform(q, &m):
	default:
		if reply := x.Answer(q.msg, x.Limit-q.room()); reply != nil {
			_ = q.send(reply) // an error means that nobody waits for it
		}
	}
}

// authenticate checks a signature, and answers the message where it does not hold: RFC 8945 §5.2.
func (s *Service) authenticate(q *request, sig *signature) bool {
	now := time.Now()
	key := s.options.Keys[sig.key]
	code := uint16(dns.RcodeBadKey)
	var session *session
	if key != nil {
		session = newSession(key)
		err := session.check(q.Query, sig, now)
		if err == nil {
			q.msg, q.key, q.session, q.sig = sig.stripped(q.Query), key.Name, session, sig
			copy(q.msg, q.Query[:2]) // a forwarder may have changed it: the reply has what came
			return true
		}
		var bad signedError
		if !errors.As(err, &bad) {
			s.metrics.tsig.WithLabelValues("FORMERR").Inc()
			q.fail(dns.RcodeFormatError)
			return false
		}
		code = bad.code
	}
	s.metrics.tsig.WithLabelValues(codeName(code)).Inc()
	s.unproven(q, sig, code)
	l, err := survey(q.Query)
	if err != nil {
		return false
	}
	reply := header(q.Query, l.end, dns.RcodeNotAuth)
	answer := &signature{key: sig.key, algorithm: sig.algorithm, time: sig.time, fudge: fudge, id: idOf(reply), code: code}
	switch code {
	case dns.RcodeBadTime:
		answer.other = append48(nil, uint64(now.Unix()))
		reply = session.signWith(reply, answer)
	case dns.RcodeBadTrunc:
		answer.time = uint64(now.Unix())
		reply = session.signWith(reply, answer)
	default: // the two do not share the key, so there is nothing to sign with
		reply = answer.append(reply)
	}
	if len(reply) <= q.Limit {
		_ = q.Reply(reply)
	}
	return false
}

// room is how many octets a signature takes.
func (q *request) room() int {
	if q.session == nil {
		return 0
	}
	return q.session.size()
}

// send signs a reply where the query was signed, and sends it.
func (q *request) send(reply []byte) error {
	if q.session != nil {
		reply = q.session.sign(reply, time.Now())
	}
	return q.Reply(reply)
}

// fail answers with a response code alone.
func (q *request) fail(rcode int) {
	end := max(q.end, headerLen)
	_ = q.send(header(q.msg, end, rcode))
}

// header makes a reply that has nothing but the question, which ends at an offset, and EDNS where the query has that
// (RFC 6891 §6.1.1).
func header(query []byte, end, rcode int) []byte {
	b := append([]byte(nil), query[:end]...)
	b[2] = query[2]&0x79 | 0x80
	b[3] = byte(rcode)
	clear(b[6:headerLen])
	if end == headerLen {
		clear(b[4:6])
	}
	if l, err := survey(query); err == nil && l.edns {
		b = appendOPT(b)
	}
	return b
}

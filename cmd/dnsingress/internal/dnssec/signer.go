// SPDX-License-Identifier: Apache-2.0

package dnssec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// Limits and defaults of Options.
const (
	DefaultValidity = 14 * 24 * time.Hour
	LeastValidity   = 24 * time.Hour
	MostValidity    = 90 * 24 * time.Hour
	// DefaultCapacity is how many signatures made for queries are remembered: about 30 MB of denials, and at the very
	// most 100 MB.
	DefaultCapacity = 1 << 16
	// backdate is how long before the time that it is made for a signature is valid: an hour for validators whose
	// clocks are behind, and as long as it can be made beforehand.
	backdate = time.Hour + between
	// keyTTL is that of DNSKEY, CDS and CDNSKEY.
	keyTTL = 3600
)

// Options of a Signer.
type Options struct {
	// Keys are the zone's, at least one. Each is published. Of each algorithm, the keys with the flag SEP sign DNSKEY, CDS
	// and CDNSKEY, and the others everything else; where there are no others, those with the flag sign it too.
	Keys []*Key
	// Validity is how long a signature is valid from the time that it is made for; it is made again after half of
	// that. 0: DefaultValidity.
	Validity time.Duration
	// AddressTTL is the least Original TTL of signatures over addresses, in seconds: up to it a TTL can change without
	// new signatures (RFC 4034 §3.1.4). 0: a set's own TTL.
	AddressTTL uint32
	// Capacity is how many signatures made for queries alone are remembered, rounded up to a power of 2.
	// 0: DefaultCapacity.
	Capacity int
	// Now is the clock. nil: time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Signer signs one zone. It is safe for concurrent use.
type Signer struct {
	origin     string // presentation form
	name       string // wire form
	validity   int64  // seconds
	addressTTL uint32
	now        func() time.Time
	log        *slog.Logger
	clock      atomic.Int64 // seconds; what answers go by
	keys       []*Key
	signsKeys  []*Key
	signsRest  []*Key

	seed  maphash.Seed
	kept  kept // what is lasting
	made  made // what is not
	count counts

	wake   chan struct{}
	mu     sync.Mutex
	latest *zone.Zone   // the newest published, nil: none yet; guarded by mu
	warned atomic.Int64 // when a failure was last logged, seconds
}

// counts are what the metrics say.
type counts struct {
	ahead, asked, failed atomic.Uint64
	oldest               atomic.Int64
}

// New returns the signer for a zone. The error joins all that is wrong with the options.
func New(origin string, o Options) (*Signer, error) {
	s := &Signer{
		origin: dns.CanonicalName(origin), addressTTL: o.AddressTTL, now: o.Now, log: o.Log, keys: slices.Clone(o.Keys),
		seed: maphash.MakeSeed(), wake: make(chan struct{}, 1),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var errs []error
	switch {
	case o.Validity == 0:
		o.Validity = DefaultValidity
	case o.Validity < LeastValidity || o.Validity > MostValidity:
		errs = append(errs, fmt.Errorf("a validity of %v (hint: %v to %v)", o.Validity, LeastValidity, MostValidity))
	}
	s.validity = int64(o.Validity / time.Second)
	buf := make([]byte, 256)
	end, err := dns.PackDomainName(s.origin, buf, 0, nil, false)
	if err != nil {
		errs = append(errs, fmt.Errorf("origin %q: %w", origin, err))
	}
	s.name = string(buf[:max(end, 0)])
	errs = append(errs, s.assign())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("signing zone %s: %w", s.origin, err)
	}
	s.made.init(o.Capacity)
	s.Tick()
	return s, nil
}

// assign gives every key its part.
func (s *Signer) assign() error {
	var errs []error
	if len(s.keys) == 0 {
		errs = append(errs, errors.New("there is no key"))
	}
	slices.SortFunc(s.keys, func(a, b *Key) int { return int(a.tag) - int(b.tag) })
	for i, k := range s.keys {
		if k.Zone() != s.origin {
			errs = append(errs, fmt.Errorf("key %s is for the zone %s", k.Name(), k.Zone()))
		}
		if i > 0 && k.public.PublicKey == s.keys[i-1].public.PublicKey {
			errs = append(errs, fmt.Errorf("key %s is given twice", k.Name()))
		}
	}
	for _, a := range algorithms {
		var signsKeys, signsRest []*Key
		for _, k := range s.keys {
			switch {
			case k.Algorithm() != a:
			case k.SignsKeys():
				signsKeys = append(signsKeys, k)
			default:
				signsRest = append(signsRest, k)
			}
		}
		if len(signsRest) == 0 {
			signsRest = signsKeys
		}
		if len(signsKeys) == 0 && len(signsRest) > 0 {
			errs = append(errs, fmt.Errorf("no key of algorithm %s has flags 257, which the parent's DS names (hint: dnsingress dnssec keygen %s --algorithm %s)",
				dns.AlgorithmToString[a], s.origin, dns.AlgorithmToString[a]))
		}
		s.signsKeys = append(s.signsKeys, signsKeys...)
		s.signsRest = append(s.signsRest, signsRest...)
	}
	return errors.Join(errs...)
}

// Sign returns the zone with the signer and its DNSKEY, CDS and CDNSKEY records (RFC 7344).
func (s *Signer) Sign(z *zone.Zone) (*zone.Zone, error) {
	if z.Origin() != s.origin {
		return nil, fmt.Errorf("signing zone %s: the keys are for %s", z.Origin(), s.origin)
	}
	var apex []dns.RR
	for _, k := range s.keys {
		apex = append(apex, k.DNSKEY(keyTTL))
		if k.SignsKeys() {
			apex = append(apex, k.DNSKEY(keyTTL).ToCDNSKEY(), k.DS(keyTTL).ToCDS())
		}
	}
	return z.Signed(s, apex)
}

// Tick moves the clock that answers go by. Run does it.
func (s *Signer) Tick() { s.clock.Store(s.now().Unix()) }

// Signatures is [zone.Signer]'s.
func (s *Signer) Signatures(set zone.Signable, lasts bool) string {
	s.original(set)
	hash := maphash.Bytes(s.seed, set)
	now := s.clock.Load()
	// Run makes what is due anew, so what is kept is taken until it is long overdue.
	if e := s.kept.get(hash, set); e != nil && now < e.due+s.validity/4 && s.begun(e, now) {
		return e.records
	}
	if e := s.made.get(hash, set); e != nil && now < e.due && s.begun(e, now) {
		return e.records
	}
	e := s.sign(hash, set, s.now().Unix())
	if e == nil {
		return ""
	}
	s.count.asked.Add(1)
	if !lasts || !s.kept.offer(e) {
		s.made.put(e)
	}
	return e.records
}

// begun tells whether an entry's signatures are valid by now: they are not where they were made by a clock that was ahead
// and has been set back.
func (s *Signer) begun(e *entry, now int64) bool {
	return now >= e.due-s.validity/2-int64(backdate/time.Second)
}

// original sets the TTL that is signed for.
func (s *Signer) original(set zone.Signable) {
	if t := set.Type(); (t == dns.TypeA || t == dns.TypeAAAA) && set.TTL() < s.addressTTL {
		set.SetTTL(s.addressTTL)
	}
}

// sign makes the signatures of a set at an instant in seconds, or nil if a key fails.
func (s *Signer) sign(hash uint64, set zone.Signable, now int64) *entry {
	rrs := canonical(set)
	inception, expiration, due := s.times(rrs, now)
	keys := s.signsRest
	switch set.Type() {
	case dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
		keys = s.signsKeys
	}
	var records []byte
	for _, k := range keys {
		// RFC 4034 §3.1, behind the head of a compiled record.
		data := binary.BigEndian.AppendUint16(nil, set.Type())
		data = append(data, k.Algorithm(), labels(set.Owner()))
		data = binary.BigEndian.AppendUint32(data, set.TTL())
		data = binary.BigEndian.AppendUint32(data, uint32(expiration))
		data = binary.BigEndian.AppendUint32(data, uint32(inception))
		data = binary.BigEndian.AppendUint16(data, k.tag)
		data = append(data, s.name...)
		signature, err := k.sign(append(slices.Clip(data), rrs...))
		if err != nil {
			s.fault(fmt.Errorf("signing with %s: %w", k.Name(), err))
			return nil
		}
		data = append(data, signature...)
		records = append(records, 0xC0, 12, 0, byte(dns.TypeRRSIG), 0, byte(dns.ClassINET))
		records = binary.BigEndian.AppendUint32(records, set.TTL())
		records = binary.BigEndian.AppendUint16(records, uint16(len(data)))
		records = append(records, data...)
	}
	return &entry{hash: hash, set: string(set), records: string(records), due: due}
}

// fault counts a failure to sign and logs it, once a minute at most.
func (s *Signer) fault(err error) {
	s.count.failed.Add(1)
	now := s.clock.Load()
	if last := s.warned.Load(); now-last >= 60 && s.warned.CompareAndSwap(last, now) {
		s.log.Error("answers go unsigned", "zone", s.origin, "error", err)
	}
}

// times gives, in seconds, from when to when a signature that is made at an instant is valid, and when it is due to be
// made again: at the end of its slot. The records are in canonical form, so that it does not matter in which order a
// replica has them.
func (s *Signer) times(rrs []byte, now int64) (inception, expiration, due int64) {
	h := fnv.New64a()
	h.Write(rrs)
	slot := s.validity / 2
	phase := int64(h.Sum64() >> 1 % uint64(slot))
	begin := (now+phase)/slot*slot - phase
	return begin - int64(backdate/time.Second), begin + s.validity, begin + slot
}

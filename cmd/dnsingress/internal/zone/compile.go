// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/miekg/dns"
)

// maxMessage is what a message may hold, RFC 1035 §4.2.2; maxSection leaves room for a header, the longest
// question and an OPT record with every option that a server sends.
const (
	maxMessage = 65535
	maxSection = maxMessage - 12 - maxName - 4 - 256
)

// CheckType tells whether a zone can have records of a type.
func CheckType(t uint16) error {
	if t == dns.TypeNone || t == dns.TypeOPT || t >= 128 && t <= 255 {
		return fmt.Errorf("type %s is for questions and messages, not for data (RFC 6895 §3.1)", dns.Type(t))
	}
	return nil
}

// record compiles one record: the pointer to the question's name, type, class, TTL, RDLENGTH and
// uncompressed RDATA. It writes to the owner and the TTL of rr, which must be the caller's own.
func record(rr dns.RR, ttl uint32, buf []byte) (string, error) {
	h := rr.Header()
	if h.Class != dns.ClassINET {
		return "", fmt.Errorf("class %s is not IN", dns.Class(h.Class))
	}
	if err := CheckType(h.Rrtype); err != nil {
		return "", err
	}
	h.Name, h.Ttl = ".", bounded(ttl)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("packing %s: %w", dns.Type(h.Rrtype), err)
	}
	if end-11 > math.MaxUint16 {
		return "", fmt.Errorf("%s data of %d octets exceeds 65535", dns.Type(h.Rrtype), end-11)
	}
	// The root owner is one octet; the pointer takes two, so the record is built one octet to the right.
	out := make([]byte, end+1)
	out[0], out[1] = 0xC0, 12
	copy(out[2:], buf[1:end])
	binary.BigEndian.PutUint16(out[recordHead-2:], uint16(end-11))
	return string(out), nil
}

// compile checks and compiles the RRsets of one owner, in lower-case wire form. Its errors are joined.
func compile(owner string, sets []RRset) ([]compiled, error) {
	var errs []error
	var out []compiled
	var buf []byte
	for _, s := range sets {
		c := compiled{rtype: s.Type, most: uint16(min(max(s.MaxAnswers, 0), mostMask))}
		if s.MaxAnswers < 0 {
			errs = append(errs, fmt.Errorf("%s: at most %d answers is not a number of answers", dns.Type(s.Type), s.MaxAnswers))
		}
		if len(s.Records) == 0 {
			errs = append(errs, fmt.Errorf("%s: an RRset needs a record (hint: no RRsets make a name without data)", dns.Type(s.Type)))
			continue
		}
		problem := errors.Join(s.checkSelection(), s.checkGroups())
		if problem != nil {
			errs = append(errs, fmt.Errorf("%s: %w", dns.Type(s.Type), problem))
		}
		for _, rr := range s.Records {
			if got := rr.Header().Rrtype; got != s.Type {
				errs = append(errs, fmt.Errorf("%s: a record of type %s does not belong", dns.Type(s.Type), dns.Type(got)))
				continue
			}
			if size := dns.Len(rr) + maxName; size > len(buf) {
				buf = make([]byte, size)
			}
			r, err := record(dns.Copy(rr), s.TTL, buf)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			c.records = append(c.records, r)
		}
		if slices.ContainsFunc(out, func(o compiled) bool { return o.rtype == s.Type }) {
			errs = append(errs, fmt.Errorf("%s is given twice", dns.Type(s.Type)))
			continue
		}
		switch {
		case problem != nil || len(c.records) != len(s.Records):
		case len(s.Groups) > 0:
			c.plan, c.records = newOptions(owner, s, c.records, int(c.most))
		case s.Select.Kind != Window:
			c.plan, c.records = newPlan(s, c.records, int(c.most))
		}
		if len(c.records) > 0 {
			out = append(out, c)
		}
	}
	return out, errors.Join(errs...)
}

// tidy drops duplicate records and gives all records of a set the lowest of their TTLs (RFC 2181 §5).
func tidy(c compiled) compiled {
	if len(c.records) == 1 || c.plan.divided() { // which is tidy, and may have one record in two options
		return c
	}
	lowest, differ := be32(c.records[0], 6), false
	for _, r := range c.records[1:] {
		if ttl := be32(r, 6); ttl != lowest {
			lowest, differ = min(ttl, lowest), true
		}
	}
	if differ {
		for i, r := range c.records {
			c.records[i] = withTTL(r, lowest)
		}
	}
	seen := make(map[string]bool, len(c.records))
	c.records = slices.DeleteFunc(c.records, func(r string) bool {
		key := folded(r)
		double := seen[key]
		seen[key] = true
		return double
	})
	return c
}

// folded gives a record whose RDATA is one name in lower case, for names are equal in whatever case (RFC 4343).
func folded(record string) string {
	name, ok := lastName(be16(record, 2))
	if !ok {
		return record
	}
	b := []byte(record)
	for i := name; i < len(b); i++ {
		b[i] = lower(b[i])
	}
	return string(b)
}

// lastName returns where the name begins that a compiled record of a type ends with; ok is false where the type has no
// name, or others as well.
func lastName(rtype uint16) (at int, ok bool) {
	switch rtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeDNAME:
		return recordHead, true
	case dns.TypeMX:
		return recordHead + 2, true
	case dns.TypeSRV:
		return recordHead + 6, true
	}
	return 0, false
}

func withTTL(record string, ttl uint32) string {
	b := []byte(record)
	binary.BigEndian.PutUint32(b[6:], ttl)
	return string(b)
}

// check applies the rules for what may stand together at one name, and gives its flags. The sets must be tidy.
func check(sets []compiled, apex bool) (flags byte, err error) {
	var errs []error
	has := func(t uint16) int { // how many records one option has
		for _, s := range sets {
			if s.rtype == t {
				most := 0
				s.each(func(records []string, _ plan) { most = max(most, len(records)) })
				return most
			}
		}
		return 0
	}
	if n := has(dns.TypeCNAME); n > 0 {
		flags |= flagCNAME
		if n > 1 {
			errs = append(errs, errors.New("more than one CNAME (RFC 2181 §10.1)"))
		}
		if apex {
			errs = append(errs, errors.New("CNAME at the origin beside its SOA (RFC 1034 §3.6.2)"))
		}
		for _, s := range sets {
			switch s.rtype {
			case dns.TypeCNAME, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeKEY:
			default:
				errs = append(errs, fmt.Errorf("CNAME and %s at one name (RFC 1034 §3.6.2)", dns.Type(s.rtype)))
			}
		}
	}
	if n := has(dns.TypeDNAME); n > 0 {
		flags |= flagDNAME
		if n > 1 {
			errs = append(errs, errors.New("more than one DNAME (RFC 6672 §2.4)"))
		}
	}
	if n := has(dns.TypeSOA); n > 0 && !apex {
		errs = append(errs, errors.New("SOA below the origin"))
	} else if n > 1 {
		errs = append(errs, errors.New("more than one SOA (RFC 1035 §5.2)"))
	}
	if has(dns.TypeNS) > 0 && !apex {
		flags |= flagCut
		if flags&flagDNAME != 0 {
			errs = append(errs, errors.New("NS and DNAME at one name (RFC 6672 §2.3)"))
		}
	}
	if len(sets) > math.MaxUint8 { // a node counts them in one octet
		errs = append(errs, fmt.Errorf("%d types at one name exceed 255", len(sets)))
	}
	for _, s := range sets {
		if len(s.records) > math.MaxUint16 {
			errs = append(errs, fmt.Errorf("%s: %d records exceed 65535", dns.Type(s.rtype), len(s.records)))
			continue
		}
		s.each(func(records []string, p plan) {
			longest, all := 0, 0
			for _, r := range records {
				longest, all = max(longest, len(r)), all+len(r)
			}
			if s.most != 0 && int(s.most) < len(records) && (p == "" || p.kind() != All) {
				all = int(s.most) * longest
			}
			if all > maxSection {
				errs = append(errs, fmt.Errorf("%s: an answer of %d octets does not fit a message", dns.Type(s.rtype), all))
			}
		})
	}
	return flags, errors.Join(errs...)
}

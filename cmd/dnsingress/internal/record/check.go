// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// MostTargets is how many records of a set an answer holds at most: beyond that, each answer holds others of them.
const MostTargets = 100

// mostRecords is how many records a set has at most: what is beyond is left out, as no message could hold them all.
const mostRecords = 2000

// Reasons of problems that are found here.
const (
	InvalidName    = "InvalidName"
	InvalidRecord  = "InvalidRecord"
	InvalidTTL     = "InvalidTTL"
	WrongFamily    = "WrongFamily"
	UnknownGeo     = "UnknownGeo"
	CNAMEConflict  = "CNAMEConflict"
	ApexCNAME      = "ApexCNAME"
	ReservedType   = "ReservedType"
	TooManyTargets = "TooManyTargets"
	RecordLoop     = "Loop"
	OutsideZones   = "OutsideZones"
)

// Check returns of the pool's hosts and record sets those that can be published, and what is wrong with the others. Sets
// are one a name and type, in their order, without doubles. Origins are those of the zones that are served, canonical;
// nil: unknown, and what depends on them is not checked. Names outside the zones are not looked for.
func Check(p *model.Pool, origins []string) (hosts []string, sets []model.RecordSet, problems []model.Problem) {
	c := checker{origins: origins}
	for _, h := range p.Hosts {
		if c.name(h) && !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	if len(p.Records) == 0 {
		return hosts, nil, c.problems
	}
	sets = c.merge(p.Records)
	sets = slices.DeleteFunc(sets, func(s model.RecordSet) bool { return !c.permitted(s) })
	for i := range sets {
		c.records(&sets[i])
	}
	sets = slices.DeleteFunc(sets, func(s model.RecordSet) bool { return len(s.Records) == 0 })
	return hosts, c.alone(hosts, sets), c.problems
}

type checker struct {
	origins  []string
	problems []model.Problem
}

func (c *checker) problem(reason, hint, format string, a ...any) {
	message := fmt.Sprintf(format, a...)
	if hint != "" {
		message += " (hint: " + hint + ")"
	}
	if p := (model.Problem{Reason: reason, Message: message}); !slices.Contains(c.problems, p) {
		c.problems = append(c.problems, p)
	}
}

// name reports whether a name can have records.
func (c *checker) name(name string) bool {
	problem, hint := "", ""
	labels, ok := dns.IsDomainName(name)
	switch {
	case name == "" || name == ".":
		problem = "the name is empty"
	case !ok:
		problem, hint = "is no domain name", "labels of at most 63 octets, of at most 255 in all, with single dots between"
	case !dns.IsFqdn(name) || name != dns.CanonicalName(name):
		problem = "is not in canonical form"
	case labels > 1 && strings.Contains(strings.TrimPrefix(name, "*."), "*"):
		problem, hint = "has an asterisk that is not its first label", "*.apps.example.org"
	case strings.ContainsFunc(name, unusual):
		problem, hint = "has characters that host names do not have", "letters, digits, hyphens, dots; other scripts as xn--…"
	}
	if problem != "" {
		c.problem(InvalidName, hint, "%q %s", name, problem)
	}
	return problem == ""
}

// unusual reports whether host names do not have the character.
func unusual(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"();@$\`, r) }

// merge makes one set of those with the same name and type. The records are copies.
func (c *checker) merge(given []model.RecordSet) []model.RecordSet {
	type key struct {
		name  string
		rtype uint16
	}
	at := make(map[key]int, len(given))
	var sets []model.RecordSet
	for _, s := range given {
		k := key{s.Name, s.Type}
		if i, ok := at[k]; ok {
			have := &sets[i]
			have.Records = append(have.Records, s.Records...)
			have.Stable = have.Stable || s.Stable
			if have.TTL == nil || s.TTL != nil && *s.TTL < *have.TTL { // RFC 2181 §5.2
				have.TTL = s.TTL
			}
			continue
		}
		at[k] = len(sets)
		s.Records = slices.Clone(s.Records)
		sets = append(sets, s)
	}
	return sets
}

// permitted reports whether there may be a set of that name and type at all.
func (c *checker) permitted(s model.RecordSet) bool {
	if !c.name(s.Name) {
		return false
	}
	text, apex := dns.Type(s.Type).String(), slices.Contains(c.origins, s.Name)
	switch s.Type {
	case dns.TypeSOA, dns.TypeDNSKEY, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeZONEMD:
		c.problem(ReservedType, "leave it out", "%s %s: records of that type are the server's own", s.Name, text)
		return false
	case dns.TypeNS, dns.TypeDS:
		if apex {
			c.problem(ReservedType, "nameservers of a zone are in the configuration", "%s %s: the zone's own records of that type are not an object's", s.Name, text)
			return false
		}
		if strings.HasPrefix(s.Name, "*.") {
			c.problem(InvalidRecord, "one set a name", "%s %s: a delegation is no pattern (RFC 4592 §4.2)", s.Name, text)
			return false
		}
	case dns.TypeDNAME:
		if strings.HasPrefix(s.Name, "*.") {
			c.problem(InvalidRecord, "a DNAME covers all names below it by itself", "%s DNAME: a redirection is no pattern (RFC 4592 §4.4)", s.Name)
			return false
		}
	case dns.TypeCNAME:
		if apex {
			c.problem(ApexCNAME, "addresses, or HTTPS 0 TARGET", "%s CNAME: it is the origin of a zone, which has other records too (RFC 1034 §3.6.2)", s.Name)
			return false
		}
	}
	if t := s.Type; t == dns.TypeNone || t == dns.TypeOPT || t >= 128 && t <= 255 { // RFC 6895 §3.1
		c.problem(ReservedType, "leave it out", "%s %s: a type of questions and messages, not of data", s.Name, text)
		return false
	}
	return true
}

// records keeps of a set what can be read, each record once an option, and tidies the rest of it.
func (c *checker) records(s *model.RecordSet) {
	if s.TTL != nil && *s.TTL > math.MaxInt32 {
		c.problem(InvalidTTL, "at most 2147483647 seconds", "%s %s: a TTL of %d is none (RFC 2181 §8)", s.Name, dns.Type(s.Type), *s.TTL)
		s.TTL = nil
	}
	kept := make([]model.Record, 0, len(s.Records))
	seen := make(map[model.Record]bool, len(s.Records))
	for _, r := range s.Records {
		if !c.record(s, &r) {
			continue
		}
		key := r
		key.Weight = nil
		if !seen[key] {
			seen[key] = true
			kept = append(kept, r)
		}
	}
	s.Records = c.bounded(s, kept)
}

// record reads one record, into the form in which equal ones are alike.
func (c *checker) record(s *model.RecordSet, r *model.Record) bool {
	what := s.Name + " " + dns.Type(s.Type).String()
	if r.Geo != "" {
		code, err := geo.Parse(r.Geo)
		if err != nil {
			c.problem(UnknownGeo, "", "%s: %v", what, err)
			return false
		}
		r.Geo = code
	}
	if r.Follow != "" {
		name := dns.CanonicalName(r.Follow)
		_, ok := dns.IsDomainName(name)
		switch {
		case s.Type != dns.TypeA && s.Type != dns.TypeAAAA:
			c.problem(InvalidRecord, "A or AAAA", "%s: only addresses can be those of another host name, %s", what, r.Follow)
			return false
		case !ok || strings.HasPrefix(name, "*."):
			c.problem(InvalidName, "", "%s: %q is no host name", what, r.Follow)
			return false
		case name == s.Name:
			c.problem(RecordLoop, "the host name that has the addresses", "%s: it follows itself", what)
			return false
		}
		r.Follow = name
		return true
	}
	switch s.Type {
	case dns.TypeA, dns.TypeAAAA:
		a, err := netip.ParseAddr(strings.TrimSpace(r.Data))
		switch {
		case err != nil || a.Zone() != "":
			c.problem(InvalidRecord, "", "%s: %q is no IP address", what, r.Data)
			return false
		case a.Is4() && s.Type == dns.TypeAAAA:
			c.problem(WrongFamily, "recordType A", "%s: %s is an IPv4 address", what, a)
			return false
		case !a.Is4() && s.Type == dns.TypeA:
			c.problem(WrongFamily, "recordType AAAA", "%s: %s is an IPv6 address", what, a)
			return false
		}
		r.Data = a.String()
		return true
	}
	rr, err := Parse(s.Name, s.Type, 0, r.Data)
	if err != nil {
		c.problem(InvalidRecord, "", "%s: %v", what, err)
		return false
	}
	if target := targetOf(rr); target == s.Name && (s.Type == dns.TypeCNAME || s.Type == dns.TypeDNAME) {
		c.problem(RecordLoop, "the name that has the data", "%s: it points to itself", what)
		return false
	}
	r.Data = strings.TrimSpace(r.Data)
	return true
}

// bounded leaves out what is too much.
func (c *checker) bounded(s *model.RecordSet, records []model.Record) []model.Record {
	what := s.Name + " " + dns.Type(s.Type).String()
	for _, o := range Options(&model.RecordSet{Records: records}) {
		n := len(o.Records)
		switch {
		case n > 1 && (s.Type == dns.TypeCNAME || s.Type == dns.TypeDNAME):
			c.problem(InvalidRecord, "one target, or a setIdentifier for each", "%s: an answer holds one such record, and here are %d (RFC 2181 §10.1)", what, n)
			records = slices.DeleteFunc(records, func(r model.Record) bool { return r.Geo == o.Geo && r.Set == o.Set })
		case n > MostTargets:
			c.problem(TooManyTargets, fmt.Sprintf("at most %d", MostTargets), "%s: %d targets do not fit into an answer that clients take; each holds %d of them, other ones each time", what, n, MostTargets)
		}
	}
	if len(records) > mostRecords {
		c.problem(TooManyTargets, fmt.Sprintf("at most %d", mostRecords), "%s: of %d targets the first %d are published", what, len(records), mostRecords)
		records = records[:mostRecords]
	}
	return records
}

// alone leaves out every CNAME that has something beside it.
func (c *checker) alone(hosts []string, sets []model.RecordSet) []model.RecordSet {
	beside := make(map[string]map[string]bool, len(sets)) // by name: the types there, CNAME apart
	add := func(name, what string) {
		if beside[name] == nil {
			beside[name] = map[string]bool{}
		}
		beside[name][what] = true
	}
	for _, h := range hosts {
		add(h, "addresses")
	}
	for _, s := range sets {
		if s.Type != dns.TypeCNAME {
			add(s.Name, dns.Type(s.Type).String())
		}
	}
	return slices.DeleteFunc(sets, func(s model.RecordSet) bool {
		others := slices.Sorted(maps.Keys(beside[s.Name]))
		switch {
		case s.Type == dns.TypeCNAME && len(others) > 0:
			c.problem(CNAMEConflict, "either the CNAME or the others", "%s: a CNAME is not published beside other data, here %s (RFC 1034 §3.6.2)", s.Name, strings.Join(others, ", "))
			return true
		case (s.Type == dns.TypeA || s.Type == dns.TypeAAAA) && slices.Contains(others, "addresses"):
			c.problem(InvalidRecord, "another name", "%s %s: the addresses of that name are the pool's members", s.Name, dns.Type(s.Type))
			return true
		case s.Type == dns.TypeDNAME && slices.Contains(others, "NS"):
			c.problem(InvalidRecord, "one of them", "%s: a DNAME is not published beside NS (RFC 6672 §2.3)", s.Name)
			return true
		}
		return false
	})
}

// Parse reads data in presentation form (RFC 1035 §5.1), in which all names are absolute.
func Parse(owner string, rtype uint16, ttl uint32, data string) (dns.RR, error) {
	switch {
	case strings.ContainsAny(data, "\r\n"):
		return nil, fmt.Errorf("%q has more than one line", data)
	case strings.TrimSpace(data) == "":
		return nil, errors.New("there are no data")
	}
	head := dns.RR_Header{Name: owner, Rrtype: rtype, Class: dns.ClassINET, Ttl: ttl}
	switch rtype {
	case dns.TypeA, dns.TypeAAAA:
		if a, err := netip.ParseAddr(data); err == nil && a.Is4() == (rtype == dns.TypeA) {
			if a.Is4() {
				return &dns.A{Hdr: head, A: a.AsSlice()}, nil
			}
			return &dns.AAAA{Hdr: head, AAAA: a.AsSlice()}, nil
		}
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", owner, ttl, dns.Type(rtype), data))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no data of that type", data)
	case rr == nil || rr.Header().Rrtype != rtype:
		return nil, fmt.Errorf("%q holds no data", data)
	}
	rr.Header().Name = owner
	return rr, nil
}

// ParseType reads a type by its name, or as TYPE with a number (RFC 3597 §5).
func ParseType(text string) (rtype uint16, ok bool) {
	text = strings.ToUpper(text)
	if t, known := dns.StringToType[text]; known {
		return t, true
	}
	number, generic := strings.CutPrefix(text, "TYPE")
	n, err := strconv.ParseUint(number, 10, 16)
	return uint16(n), generic && err == nil && number == strconv.FormatUint(n, 10)
}

// targetOf is where an alias points to, canonical; "": it is none.
func targetOf(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.CNAME:
		return dns.CanonicalName(rr.Target)
	case *dns.DNAME:
		return dns.CanonicalName(rr.Target)
	}
	return ""
}

// Target is the name that a CNAME's data says, canonical.
func Target(data string) string { return dns.CanonicalName(strings.TrimSpace(data)) }

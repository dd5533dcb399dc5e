// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// LoadOptions is Load for a file in which comments say whom records are for, as `dnsingress records` writes them:
//
//	www 60 A 192.0.2.1 ; geo IE, weight 100, set dublin
//
// Records of one name and type that are alike in geo and set are one option (zone.Group); an answer holds one.
func LoadOptions(path, origin string) (*zone.Zone, files.Seen, error) {
	return (&loader{origin: origin, read: files.Seen{}, options: &options{}}).load(path, origin)
}

// options are the sets of which an answer holds a part, as far as they have been read.
type options struct {
	sets []*optional
}

// optional is one of them.
type optional struct {
	owner   string
	rtype   uint16
	ttl     uint32
	options []option
	last    place
}

type option struct {
	zone.Group
	records []dns.RR
}

// take adds a record whose comment says whom it is for, and tells whether it does.
func (o *options) take(rr dns.RR, comment string, at place) (taken bool, err error) {
	if o == nil || comment == "" {
		return false, nil
	}
	g, taken, err := parseOption(comment)
	if !taken || err != nil {
		return taken, err
	}
	h := rr.Header()
	owner := dns.CanonicalName(h.Name)
	i := slices.IndexFunc(o.sets, func(s *optional) bool { return s.rtype == h.Rrtype && s.owner == owner })
	if i < 0 {
		i = len(o.sets)
		o.sets = append(o.sets, &optional{owner: owner, rtype: h.Rrtype, ttl: h.Ttl})
	}
	s := o.sets[i]
	s.ttl, s.last = min(s.ttl, h.Ttl), at // RFC 2181 §5.2
	k := slices.IndexFunc(s.options, func(o option) bool { return o.Location == g.Location && o.Name == g.Name && g.Name != "" })
	if k < 0 {
		k = len(s.options)
		s.options = append(s.options, option{Group: g})
	}
	s.options[k].records = append(s.options[k].records, dns.Copy(rr))
	return true, nil
}

// put gives the sets to a builder that has all other records.
func (o *options) put(b *zone.Builder, fault func(place, error)) {
	if o == nil {
		return
	}
	for _, s := range o.sets {
		set := zone.RRset{Type: s.rtype, TTL: s.ttl}
		for _, o := range s.options {
			o.Records = len(o.records)
			set.Groups = append(set.Groups, o.Group)
			set.Records = append(set.Records, o.records...)
		}
		if err := b.AddSet(s.owner, set); err != nil {
			fault(s.last, err)
		}
	}
}

// parseOption reads a comment such as "; geo IE, weight 100, set a"; is tells whether it begins as one.
func parseOption(comment string) (g zone.Group, is bool, err error) {
	g.Weight = 1
	rest := strings.TrimLeft(comment, "; \t")
	var errs []error
	for first := true; rest != ""; first = false {
		key, behind, _ := strings.Cut(rest, " ")
		behind = strings.TrimLeft(behind, " ")
		value, err := strconv.QuotedPrefix(behind)
		if err == nil {
			rest = behind[len(value):]
			value, _ = strconv.Unquote(value) // it is quoted
		} else {
			value, _, _ = strings.Cut(behind, ",")
			rest = behind[len(value):]
			value = strings.TrimRight(value, " ")
		}
		rest = strings.TrimLeft(rest, ", ")
		switch key {
		case "geo":
			if g.Location, err = geo.Parse(value); err != nil {
				errs = append(errs, err)
			}
		case "weight":
			weight, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				errs = append(errs, fmt.Errorf("weight %q (hint: a number from 0 to 4294967295)", value))
			}
			g.Weight = uint32(weight)
		case "set":
			g.Name = value
		case "policy", "reason": // that have no effect here
			continue
		default:
			if first {
				return g, false, nil // a comment for people
			}
			errs = append(errs, fmt.Errorf("%q says nothing of whom a record is for (hint: ; geo IE, weight 100, set a)", key))
		}
		is = true
	}
	return g, is, errors.Join(errs...)
}

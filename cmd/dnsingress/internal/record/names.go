// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Names are all that an object claims with hosts and sets that Check has passed: those themselves, and the names
// that follow from the pool's ports, each with the host that it is for.
func Names(p *model.Pool, hosts []string, sets []model.RecordSet) (names []string, made map[string]string) {
	seen := make(map[string]bool, len(hosts)+len(sets))
	add := func(name string) bool {
		if seen[name] {
			return false
		}
		seen[name] = true
		names = append(names, name)
		return true
	}
	for _, h := range hosts {
		add(h)
	}
	for _, s := range sets {
		add(s.Name)
	}
	for _, h := range hosts {
		for _, name := range portNames(p, h) {
			if add(name) {
				if made == nil {
					made = map[string]string{}
				}
				made[name] = h
			}
		}
	}
	return names, made
}

// At calls each with the sets that are at a name, and reports whether anybody has the name.
type At func(name string, each func(*model.RecordSet)) bool

// Next are the names to which an answer for name leads on: those that the targets of its CNAMEs are answered by; and where
// it has a DNAME, the names with one that the names below its target are below, because they are led on from there.
func Next(name string, at At) (names []string) {
	at(name, func(s *model.RecordSet) {
		for _, r := range s.Records {
			to := ""
			switch s.Type {
			case dns.TypeCNAME:
				to = Covering(Target(r.Data), func(n string) bool { return at(n, func(*model.RecordSet) {}) })
			case dns.TypeDNAME:
				to = redirecting(Target(r.Data), at)
			}
			if to != "" {
				names = append(names, to)
			}
		}
	})
	return names
}

// Leads reports whether records of a type lead on to other names.
func Leads(rtype uint16) bool { return rtype == dns.TypeCNAME || rtype == dns.TypeDNAME }

// redirecting is the name with a DNAME that name is or is below; "": there is none.
func redirecting(name string, at At) string {
	for rest := name; ; {
		found := false
		at(rest, func(s *model.RecordSet) { found = found || s.Type == dns.TypeDNAME })
		if found {
			return rest
		}
		i := strings.IndexByte(rest, '.')
		if i < 0 || i+1 >= len(rest) {
			return ""
		}
		rest = rest[i+1:]
	}
}

// LoopText says that name is among the names that Loop gives. at tells whether it is by its CNAME or its DNAME.
func LoopText(name string, loop []string, at At) string {
	what := "CNAME"
	at(name, func(s *model.RecordSet) {
		if s.Type == dns.TypeDNAME {
			what = "DNAME"
		}
	})
	return fmt.Sprintf("%s: its %s leads back to it by %s, so that nobody would get an answer (hint: point one of them to a name with data)",
		name, what, strings.Join(slices.Concat(loop[1:], []string{name}), ", "))
}

// Loop returns the names, each of which leads to the one behind it and the last to the first, that name is among; nil:
// it does not come back to itself. next gives where a name leads to.
func Loop(name string, next func(string) []string) []string {
	seen := map[string]bool{}
	var path []string
	var walk func(string) bool
	walk = func(at string) bool {
		path = append(path, at)
		for _, to := range next(at) {
			if to == name {
				return true
			}
			if !seen[to] {
				seen[to] = true
				if walk(to) {
					return true
				}
			}
		}
		path = path[:len(path)-1]
		return false
	}
	if walk(name) {
		return path
	}
	return nil
}

// Covering returns the name whose records an answer for name has: itself where it has some, else the pattern that
// covers it (RFC 4592); "": none. has tells whether a name has records.
func Covering(name string, has func(string) bool) string {
	if has(name) {
		return name
	}
	for rest := name; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 || i+1 >= len(rest) {
			return ""
		}
		rest = rest[i+1:]
		if pattern := "*." + rest; has(pattern) {
			return pattern
		}
		if has(rest) { // the closest encloser
			return ""
		}
	}
}

// Option is records of a set that are answered together.
type Option struct {
	Geo, Set string
	Weight   uint32
	Records  []model.Record
}

// Options are those of a set, in the order of their first records. One that has no weight counts 1.
func Options(s *model.RecordSet) []Option {
	var options []Option
	for _, r := range s.Records {
		i := slices.IndexFunc(options, func(o Option) bool { return o.Geo == r.Geo && o.Set == r.Set })
		if i < 0 {
			i = len(options)
			options = append(options, Option{Geo: r.Geo, Set: r.Set, Weight: 1})
			if r.Weight != nil {
				options[i].Weight = *r.Weight
			}
		}
		options[i].Records = append(options[i].Records, r)
	}
	return options
}

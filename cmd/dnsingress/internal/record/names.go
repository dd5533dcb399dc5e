// SPDX-License-Identifier: Apache-2.0

package record

import (
	"slices"
	"strings"

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

// Loop returns the names, each of which leads to the one behind it and the last to the first, that name is among; nil:
// it does not come back to itself. next gives where a name leads to: the targets of its CNAMEs.
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

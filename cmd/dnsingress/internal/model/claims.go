// SPDX-License-Identifier: Apache-2.0

package model

import (
	"slices"
	"time"
)

// Claims knows which objects claim which names and who has each. The zero value is empty.
// The outcome depends on the objects alone, not on the order of their arrival, so that all replicas agree.
type Claims struct {
	hosts map[string][]claim // each in order: the first one has the name
	refs  map[Ref][]string
}

type claim struct {
	ref     Ref
	created time.Time
}

func (c claim) compare(o claim) int {
	if d := c.created.Compare(o.created); d != 0 {
		return d
	}
	return c.ref.Compare(o.ref)
}

// Set makes hosts all that ref claims (none: it claims nothing any more) and returns every name that it
// claims now or claimed before, and every other object that claims one of these.
func (c *Claims) Set(ref Ref, created time.Time, hosts []string) (touched []string, rivals []Ref) {
	if c.hosts == nil {
		c.hosts, c.refs = map[string][]claim{}, map[Ref][]string{}
	}
	touched = append(touched, c.refs[ref]...)
	for _, h := range hosts {
		if !slices.Contains(touched, h) {
			touched = append(touched, h)
		}
	}
	for _, h := range c.refs[ref] {
		c.hosts[h] = slices.DeleteFunc(c.hosts[h], func(o claim) bool { return o.ref == ref })
	}
	delete(c.refs, ref)
	if len(hosts) > 0 {
		c.refs[ref] = slices.Clone(hosts)
	}
	for _, h := range hosts {
		c.hosts[h] = append(c.hosts[h], claim{ref, created})
		slices.SortFunc(c.hosts[h], claim.compare)
	}
	for _, h := range touched {
		for _, o := range c.hosts[h] {
			if o.ref != ref && !slices.Contains(rivals, o.ref) {
				rivals = append(rivals, o.ref)
			}
		}
		if len(c.hosts[h]) == 0 {
			delete(c.hosts, h)
		}
	}
	return touched, rivals
}

// Owner returns who has the name.
func (c *Claims) Owner(host string) (Ref, bool) {
	if claims := c.hosts[host]; len(claims) > 0 {
		return claims[0].ref, true
	}
	return Ref{}, false
}

// Rivals returns who claims the name as well, in the order in which they would get it.
func (c *Claims) Rivals(host string) []Ref {
	var refs []Ref
	for i, o := range c.hosts[host] {
		if i > 0 {
			refs = append(refs, o.ref)
		}
	}
	return refs
}

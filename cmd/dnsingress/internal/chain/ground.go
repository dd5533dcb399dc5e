// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Ground gives addresses to names that cannot have a CNAME, as an apex cannot: those that the chains from there would
// lead clients to. Links of chains that nothing else leads into any more are left out.
func Ground(sets []model.RecordSet, base string, apex func(name string) bool) []model.RecordSet {
	grounded := func(s model.RecordSet) bool { return s.Type == dns.TypeCNAME && apex(s.Name) }
	if !slices.ContainsFunc(sets, grounded) {
		return sets
	}
	c := newChains(sets, base)
	used := map[string]bool{}
	for _, s := range sets {
		if s.Type == dns.TypeCNAME && !grounded(s) && !Link(s.Name) {
			c.reach(s.Name, used)
		}
	}
	var out []model.RecordSet
	for _, s := range sets {
		switch {
		case grounded(s):
			out = append(out, c.flatten(s.Name)...)
		case Link(s.Name) && !used[s.Name]:
		default:
			out = append(out, s)
		}
	}
	return out
}

// reach adds the names that a name leads to.
func (c *chains) reach(name string, met map[string]bool) {
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		at, ok := c.find(queue[0])
		if !ok || met[at] {
			continue
		}
		met[at] = true
		for _, r := range c.sets[key{at, dns.TypeCNAME}].Records {
			queue = append(queue, r.Data)
		}
	}
}

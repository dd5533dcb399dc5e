// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Link tells whether a name is one that chains alone use: at or below a label klb, or lb- and a code.
func Link(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "klb" || strings.HasPrefix(label, "lb-") {
			return true
		}
	}
	return false
}

// Collapse gives, in place of each chain, A and AAAA records at the name where it begins, by which clients are given the
// addresses that the chain would have led them to, as often. base is the name at or below which the sets have their names;
// names that are not are those of others, whose addresses stand in. The names inside of chains have no records left.
// Circles must have been taken out.
//
// What is other than with the chain: all is decided by one lookup, so that weights count by answer where else they count
// by the caches that hold the links; a gateway without addresses of the type that is asked for gets no client, where
// else its share would be told that there are none; other types than A and AAAA are not found through the name; and the
// TTL is the least of the chain.
func Collapse(sets []model.RecordSet, base string) []model.RecordSet {
	c := newChains(sets, base)
	var out []model.RecordSet
	for _, s := range sets {
		switch {
		case s.Type == dns.TypeCNAME && !Link(s.Name):
			out = append(out, c.flatten(s.Name)...)
		case Link(s.Name) && (s.Type == dns.TypeCNAME || s.Type == dns.TypeA || s.Type == dns.TypeAAAA):
		default:
			out = append(out, s)
		}
	}
	return out
}

// Flatten is what Collapse gives for the chain that begins at one name.
func Flatten(sets []model.RecordSet, base, name string) []model.RecordSet {
	return newChains(sets, base).flatten(name)
}

// Dangling gives the targets at or below base that no set is at, each with the name that leads there first.
func Dangling(sets []model.RecordSet, base string) map[string]string {
	c, out := newChains(sets, base), map[string]string{}
	for _, s := range sets {
		if s.Type != dns.TypeCNAME {
			continue
		}
		for _, r := range s.Records {
			if _, ok := c.find(r.Data); !ok && dns.IsSubDomain(base, r.Data) && out[r.Data] == "" {
				out[r.Data] = s.Name
			}
		}
	}
	return out
}

// mostLinks is how many names a chain has at most: what is farther down leads nowhere. Resolvers give up at about as many.
const mostLinks = 16

// chains are the sets of one base, to be walked.
type chains struct {
	base  string
	sets  map[key]model.RecordSet
	names map[string]bool // that exist: with sets, and those above them (RFC 8020)
}

func newChains(sets []model.RecordSet, base string) *chains {
	c := &chains{base: base, sets: map[key]model.RecordSet{}, names: map[string]bool{}}
	for _, s := range sets {
		c.sets[key{s.Name, s.Type}] = s
		for name := s.Name; name != "" && !c.names[name]; _, name, _ = strings.Cut(name, ".") {
			c.names[name] = true
		}
	}
	return c
}

// find gives the name whose records a name has: itself, or the wildcard that covers it (RFC 4592 §3.3.1).
func (c *chains) find(name string) (string, bool) {
	if c.names[name] {
		return name, true
	}
	for _, above, _ := strings.Cut(name, "."); above != ""; _, above, _ = strings.Cut(above, ".") {
		if c.names[above] {
			return "*." + above, c.names["*."+above]
		}
	}
	return "", false
}

// flatten gives the A and AAAA sets at a name.
func (c *chains) flatten(name string) []model.RecordSet {
	var out []model.RecordSet
	for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		set := model.RecordSet{Name: name, Type: rtype}
		passes := append(c.places(name, rtype), geo.Anywhere)
		for _, place := range slices.Compact(slices.Sorted(slices.Values(passes))) {
			p := pass{chains: c, rtype: rtype, client: place, memo: map[string][]share{}}
			// Whoever finds no place in the chain gets of any, which the zone gives without being told to.
			if shares := p.from(name); !p.strayed {
				p.put(&set, place, shares)
			}
		}
		if len(set.Records) == 0 { // no client finds a place of its own everywhere
			p := pass{chains: c, rtype: rtype, client: geo.Anywhere, memo: map[string][]share{}}
			p.put(&set, "", p.from(name))
		}
		if len(set.Records) > 0 {
			out = append(out, tidy(set))
		}
	}
	return out
}

// places are those that are told apart anywhere on the way from a name.
func (c *chains) places(name string, rtype uint16) []string {
	met, places := map[string]bool{}, map[string]bool{}
	c.reach(name, met)
	for at := range met {
		for _, t := range []uint16{dns.TypeCNAME, rtype} {
			for _, r := range c.sets[key{at, t}].Records {
				places[r.Geo] = true
			}
		}
	}
	delete(places, "")
	return slices.Collect(maps.Keys(places))
}

// pass is one walk along the chains as clients at one place are led.
type pass struct {
	*chains
	rtype   uint16
	client  string
	memo    map[string][]share
	totals  []uint64 // of weights, where there was a choice
	ttl     *uint32
	stable  bool
	strayed bool // somewhere no option was for the client
	depth   int
}

// share is how often clients end at an option of addresses.
type share struct {
	id      string
	records []model.Record
	part    *big.Rat
}

// from gives where a name leads to; the parts sum up to 1. Nothing: there are no addresses of the type.
func (p *pass) from(name string) []share {
	if s, ok := p.memo[name]; ok || p.depth == mostLinks {
		return s
	}
	p.depth++
	defer func() { p.depth-- }()
	at, ok := p.find(name)
	if !ok {
		if dns.IsSubDomain(p.base, name) {
			return nil // it leads nowhere
		}
		return []share{{id: strings.TrimSuffix(name, "."), records: []model.Record{{Follow: name}}, part: big.NewRat(1, 1)}}
	}
	set, alias := p.sets[key{at, dns.TypeCNAME}]
	if !alias {
		if set, ok = p.sets[key{at, p.rtype}]; !ok {
			return nil
		}
	}
	p.ttl, p.stable = least(p.ttl, set.TTL), p.stable || set.Stable
	type branch struct {
		weight uint64
		shares []share
	}
	var branches []branch
	var total uint64
	for _, o := range p.options(set.Records) {
		b := branch{weight: 1}
		if w := o.records[0].Weight; w != nil {
			b.weight = uint64(*w)
		}
		if alias {
			b.shares = p.from(o.records[0].Data)
		} else {
			id := strings.TrimSuffix(at, ".")
			if o.set != "" {
				id += "/" + o.set
			}
			b.shares = []share{{id: id, records: o.records, part: big.NewRat(1, 1)}}
		}
		if len(b.shares) > 0 {
			branches, total = append(branches, b), total+b.weight
		}
	}
	if total == 0 { // all of them 0: alike
		for i := range branches {
			branches[i].weight = 1
		}
		total = uint64(len(branches))
	}
	if len(branches) > 1 {
		p.totals = append(p.totals, total)
	}
	var out []share
	index := map[string]int{}
	for _, b := range branches {
		if b.weight == 0 {
			continue
		}
		part := new(big.Rat).SetFrac(new(big.Int).SetUint64(b.weight), new(big.Int).SetUint64(total))
		for _, s := range b.shares {
			s.part = new(big.Rat).Mul(part, s.part)
			if i, ok := index[s.id]; ok {
				out[i].part = new(big.Rat).Add(out[i].part, s.part)
			} else {
				index[s.id], out = len(out), append(out, s)
			}
		}
	}
	p.memo[name] = out
	return out
}

// choice is one option of a set.
type choice struct {
	option
	records []model.Record
}

// options are those that the client has the choice of.
func (p *pass) options(records []model.Record) []choice {
	best := 0
	for _, r := range records {
		best = max(best, fit(r.Geo, p.client))
	}
	p.strayed = p.strayed || best == 0
	var out []choice
	index := map[option]int{}
	for _, r := range records {
		if fit(r.Geo, p.client) != best {
			continue
		}
		o := option{r.Geo, r.Set}
		i, ok := index[o]
		if !ok {
			i, index[o] = len(out), len(out)
			out = append(out, choice{option: o})
		}
		out[i].records = append(out[i].records, r)
	}
	return out
}

// put adds to a set what clients at a place get.
func (p *pass) put(set *model.RecordSet, place string, shares []share) {
	set.TTL, set.Stable = least(set.TTL, p.ttl), set.Stable || p.stable
	weights := p.weights(shares)
	for i, s := range shares {
		for _, r := range s.records {
			set.Records = append(set.Records, model.Record{Data: r.Data, Follow: r.Follow, Geo: place, Set: s.id, Weight: weights[i]})
		}
	}
}

// weights gives the parts as whole numbers: those of a choice on the way where they do, else the least that do. Where
// these are too great for a weight, they are rounded to so many in 2^31.
func (p *pass) weights(shares []share) []*uint32 {
	out := make([]*uint32, len(shares))
	if len(shares) < 2 {
		return out
	}
	total := big.NewInt(1)
	for _, s := range shares { // the least common multiple of all denominators
		d := s.part.Denom()
		total.Mul(total, new(big.Int).Div(d, new(big.Int).GCD(nil, nil, total, d)))
	}
	for _, t := range p.totals {
		if t := new(big.Int).SetUint64(t); new(big.Int).Mod(t, total).Sign() == 0 {
			total = t
			break
		}
	}
	if total.BitLen() > 32 {
		total = big.NewInt(math.MaxInt32 + 1)
	}
	for i, s := range shares {
		n := new(big.Int).Mul(s.part.Num(), total)
		n.Add(n, new(big.Int).Rsh(s.part.Denom(), 1)).Div(n, s.part.Denom())
		w := uint32(max(1, min(n.Uint64(), math.MaxUint32)))
		out[i] = &w
	}
	return out
}

// tidy leaves out what tells nothing apart: a place that is the only one and anywhere, and an option that is the only
// one.
func tidy(set model.RecordSet) model.RecordSet {
	options := map[option]bool{}
	elsewhere := false
	for _, r := range set.Records {
		options[option{r.Geo, r.Set}] = true
		elsewhere = elsewhere || r.Geo != geo.Anywhere
	}
	for i := range set.Records {
		if !elsewhere {
			set.Records[i].Geo = ""
		}
		if len(options) == 1 {
			set.Records[i].Set = ""
		}
	}
	return set
}

// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"iter"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// mostHints is how many addresses of a family one record hints at: a hint is to save the first lookup, not to replace it.
const mostHints = 8

// weightUnit is what the greatest weight is in SRV records, and what a group's weight is multiplied by where its share
// is divided among several records.
const weightUnit = 1000

// Answer says who of a pool is answered with, and how.
type Answer struct {
	Members []int    // indices of the pool's members, in order; those of groups of weight 0 are not among them
	Weights []uint32 // parallel to Members; nil: equal
	Most    int      // addresses in one answer; 0: all
	// NoHints leaves the address hints away: who gets which address depends on the client, which hints would go against.
	NoHints bool
}

// Ports are the records that follow from the pool's ports for one of its hosts, with no TTL of their own:
//
//   - SRV records at _NAME._PROTOCOL.HOST of each port with a name. Where all who are answered with have the port under the
//     same number, the target is the host itself. Else each of them is a target by itself, ADDRESS.HOST: an IPv4 address
//     with dashes for dots, or an IPv6 address in full with dashes for colons. The target's address is among the records.
//   - HTTPS records at the host for the first port of the scheme https, with what other ports of that scheme and number
//     speak, too. Each has hints of some of the addresses, as many as an answer has, but no more than 8 of a family; an
//     answer holds one record for each place that the pool has in it.
//   - SVCB records at _SCHEME.HOST for the first port of any other scheme.
//
// All numbers are the members' own. Hosts that begin with an asterisk have HTTPS records alone.
func Ports(p *model.Pool, host string, in Answer) []model.RecordSet {
	w := portWork{pool: p, host: host, in: in, wild: strings.HasPrefix(host, "*.")}
	schemes := map[string]bool{}
	for i, port := range p.Ports {
		if name := serviceName(port, host); name != "" && !w.wild {
			w.add(name, dns.TypeSRV, w.srv(i))
		}
		if port.Scheme == "" || schemes[port.Scheme] {
			continue
		}
		schemes[port.Scheme] = true
		if name, rtype := bindingName(port.Scheme, host); name != "" && (!w.wild || rtype == dns.TypeHTTPS) {
			w.add(name, rtype, w.bindings(i, rtype))
		}
	}
	for _, a := range w.targets {
		rtype := dns.TypeAAAA
		if a.Is4() {
			rtype = dns.TypeA
		}
		w.add(targetName(a, host), rtype, []model.Record{{Data: a.String()}})
	}
	return w.sets
}

// portWork is the records of one host in the making.
type portWork struct {
	pool    *model.Pool
	host    string
	in      Answer
	wild    bool
	sets    []model.RecordSet
	targets []netip.Addr // members that are targets by themselves
}

func (w *portWork) add(name string, rtype uint16, records []model.Record) {
	if len(records) > 0 {
		w.sets = append(w.sets, model.RecordSet{Name: name, Type: rtype, Records: records})
	}
}

// member returns the n-th that is answered with.
func (w *portWork) member(n int) *model.Member { return &w.pool.Members[w.in.Members[n]] }

// number is the port that all who are answered with have; 0: they differ, or not all have one.
func (w *portWork) number(port int) uint16 {
	var number uint16
	for n := range w.in.Members {
		have := portOf(w.member(n), port)
		if have == 0 || n > 0 && have != number {
			return 0
		}
		number = have
	}
	return number
}

func portOf(m *model.Member, port int) uint16 {
	if port >= len(m.Ports) {
		return 0
	}
	return m.Ports[port]
}

// target makes a member one, and returns its name; "": the name would be too long.
func (w *portWork) target(m *model.Member) string {
	name := targetName(m.Address, w.host)
	if name != "" && !slices.Contains(w.targets, m.Address) {
		w.targets = append(w.targets, m.Address)
	}
	return name
}

// ownNumber is where one member serves a port, and the name that stands for its address.
type ownNumber struct {
	number uint16
	target string
}

// ownNumbers are those of a port, by who is answered with; members that do not serve it or have no name are left out.
func (w *portWork) ownNumbers(port int) iter.Seq2[int, ownNumber] {
	return func(yield func(int, ownNumber) bool) {
		for n := range w.in.Members {
			m := w.member(n)
			number := portOf(m, port)
			if number == 0 {
				continue
			}
			if target := w.target(m); target != "" && !yield(n, ownNumber{number, target}) {
				return
			}
		}
	}
}

// srv are the SRV records of a port.
func (w *portWork) srv(port int) []model.Record {
	if number := w.number(port); number != 0 {
		return []model.Record{{Data: fmt.Sprintf("0 0 %d %s", number, w.host)}}
	}
	var records []model.Record
	for n, own := range w.ownNumbers(port) {
		m := w.member(n)
		r := w.ofGroup(m)
		r.Data = fmt.Sprintf("0 %d %d %s", w.share(n), own.number, own.target)
		records = append(records, r)
	}
	return records
}

// share is the weight of the n-th in SRV records.
func (w *portWork) share(n int) uint32 {
	if w.in.Weights == nil {
		return 1
	}
	most := slices.Max(w.in.Weights)
	if most == 0 {
		return 1
	}
	return max(1, uint32(math.Round(weightUnit*float64(w.in.Weights[n])/float64(most))))
}

// ofGroup is a record that belongs to the option of the member's group.
func (w *portWork) ofGroup(m *model.Member) model.Record {
	if len(w.pool.Groups) < 2 {
		return model.Record{}
	}
	g := &w.pool.Groups[m.Group]
	return model.Record{Set: g.Name, Weight: &g.Weight}
}

// bindings are the service bindings of a port, and of others of the scheme that have the same number.
func (w *portWork) bindings(port int, rtype uint16) []model.Record {
	name := "."
	if rtype != dns.TypeHTTPS {
		name = w.host
	}
	number := w.number(port)
	if number == 0 {
		return w.ownBindings(port)
	}
	alpn := slices.Clone(w.pool.Ports[port].ALPN)
	for i := port + 1; i < len(w.pool.Ports); i++ {
		if w.pool.Ports[i].Scheme == w.pool.Ports[port].Scheme && w.number(i) == number {
			for _, a := range w.pool.Ports[i].ALPN {
				if !slices.Contains(alpn, a) {
					alpn = append(alpn, a)
				}
			}
		}
	}
	if w.in.NoHints {
		return []model.Record{{Data: binding(name, alpn, number, nil, nil)}}
	}
	var records []model.Record
	for g, group := range w.groups() {
		if len(group) == 0 {
			continue
		}
		set, weight := "", uint32(1)
		if len(w.pool.Groups) > 1 {
			set, weight = w.pool.Groups[g].Name, w.pool.Groups[g].Weight
		}
		hints := w.hints(group)
		for i, h := range hints {
			r := model.Record{Data: binding(name, alpn, number, h.v6, h.v4), Set: set}
			if len(hints) > 1 {
				r.Set = strings.TrimPrefix(set+"/"+strconv.Itoa(i), "/")
			}
			share := weight
			if len(hints) > 1 || len(w.pool.Groups) > 1 {
				share = part(weight, h.share)
			}
			if len(hints) > 1 || len(w.pool.Groups) > 1 {
				r.Weight = &share
			}
			records = append(records, r)
		}
	}
	return records
}

// part is a share of a weight, in fine units; at least one of them where there is any weight.
func part(weight uint32, share float64) uint32 {
	if weight == 0 {
		return 0
	}
	return uint32(min(max(1, math.Round(weightUnit*float64(weight)*share)), math.MaxUint32))
}

// ownBindings are those of members with numbers of their own.
func (w *portWork) ownBindings(port int) []model.Record {
	if w.wild {
		return nil
	}
	var records []model.Record
	for n, own := range w.ownNumbers(port) {
		m := w.member(n)
		r := w.ofGroup(m)
		var v6, v4 []netip.Addr
		if m.Address.Is4() {
			v4 = []netip.Addr{m.Address}
		} else {
			v6 = []netip.Addr{m.Address}
		}
		r.Data = binding(own.target, w.pool.Ports[port].ALPN, own.number, v6, v4)
		records = append(records, r)
	}
	return records
}

// groups are those who are answered with, by the index of their group; with less than two groups they are one.
func (w *portWork) groups() [][]int {
	groups := make([][]int, max(1, len(w.pool.Groups)))
	for n := range w.in.Members {
		g := 0
		if len(w.pool.Groups) > 1 {
			g = w.member(n).Group
		}
		groups[g] = append(groups[g], n)
	}
	return groups
}

// hint is the addresses that one record hints at.
type hint struct {
	v6, v4 []netip.Addr
	share  float64 // of the answers of its group
}

// hints divides who is answered with among records: each has as many as an answer has, so that whoever goes by a hint is
// where an answer would have led to. With weights each has one.
func (w *portWork) hints(group []int) []hint {
	var v6, v4 []int
	for _, n := range group {
		if w.member(n).Address.Is4() {
			v4 = append(v4, n)
		} else {
			v6 = append(v6, n)
		}
	}
	if w.in.Weights != nil {
		return w.weighted(v6, v4)
	}
	most := w.in.Most
	if most <= 0 || most > mostHints {
		most = mostHints
	}
	count := max((len(v6)+most-1)/most, (len(v4)+most-1)/most)
	hints := make([]hint, count)
	for i := range hints {
		hints[i] = hint{v6: w.slice(v6, i, count), v4: w.slice(v4, i, count), share: 1 / float64(count)}
	}
	return hints
}

// slice returns the i-th of so many parts, as even as can be; of less than that many, one in turn.
func (w *portWork) slice(of []int, i, count int) []netip.Addr {
	if len(of) == 0 {
		return nil
	}
	part := of[i*len(of)/count : (i+1)*len(of)/count]
	if len(part) == 0 {
		part = of[i%len(of) : i%len(of)+1]
	}
	out := make([]netip.Addr, len(part))
	for k, n := range part {
		out[k] = w.member(n).Address
	}
	return out
}

// weighted makes a record for each, those of one pod together.
func (w *portWork) weighted(v6, v4 []int) []hint {
	first, second := v6, v4
	if len(v6) == 0 {
		first, second = v4, nil
	}
	sum := 0.0
	for _, n := range first {
		sum += float64(w.in.Weights[n])
	}
	var hints []hint
	for _, n := range first {
		m, h := w.member(n), hint{share: 1 / float64(len(first))}
		if sum > 0 {
			h.share = float64(w.in.Weights[n]) / sum
		}
		if sum > 0 && w.in.Weights[n] == 0 {
			continue
		}
		if m.Address.Is4() {
			h.v4 = []netip.Addr{m.Address}
		} else {
			h.v6 = []netip.Addr{m.Address}
		}
		for _, o := range second {
			if other := w.member(o); m.Pod != "" && other.Pod == m.Pod {
				h.v4 = append(h.v4, other.Address)
			}
		}
		hints = append(hints, h)
	}
	return hints
}

// binding is a service binding in presentation form (RFC 9460 §2.1), in the order of keys.
func binding(target string, alpn []string, port uint16, v6, v4 []netip.Addr) string {
	var b strings.Builder
	b.WriteString("1 " + target)
	if len(alpn) > 0 {
		fmt.Fprintf(&b, ` alpn="%s"`, strings.Join(alpn, ","))
	}
	fmt.Fprintf(&b, ` port="%d"`, port)
	for _, family := range []struct {
		key       string
		addresses []netip.Addr
	}{{"ipv4hint", v4}, {"ipv6hint", v6}} {
		for i, a := range family.addresses {
			if i == 0 {
				b.WriteString(" " + family.key + `="`)
			} else {
				b.WriteByte(',')
			}
			b.WriteString(a.String())
		}
		if len(family.addresses) > 0 {
			b.WriteByte('"')
		}
	}
	return b.String()
}

// portNames are the names that Ports may give a host of the pool records at, whoever is answered with.
func portNames(p *model.Pool, host string) []string {
	if strings.HasPrefix(host, "*.") {
		return nil
	}
	var names []string
	differ := false
	for i, port := range p.Ports {
		used := false
		if name := serviceName(port, host); name != "" {
			names, used = append(names, name), true
		}
		if name, rtype := bindingName(port.Scheme, host); name != "" {
			used = true
			if rtype == dns.TypeSVCB {
				names = append(names, name)
			}
		}
		for k := range p.Members {
			differ = differ || used && portOf(&p.Members[k], i) != portOf(&p.Members[0], i)
		}
	}
	if differ {
		for _, m := range p.Members {
			if name := targetName(m.Address, host); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// serviceName is where the SRV records of a port are; "": nowhere.
func serviceName(p model.Port, host string) string {
	if p.Name == "" || p.Protocol == "" {
		return ""
	}
	return valid("_" + strings.ToLower(p.Name) + "._" + strings.ToLower(p.Protocol) + "." + host)
}

// bindingName is where the service bindings of a scheme are, and of which type they are (RFC 9460 §2.3 and §9.1).
func bindingName(scheme, host string) (string, uint16) {
	switch scheme {
	case "":
		return "", 0
	case "https":
		return host, dns.TypeHTTPS
	}
	return valid("_" + strings.ToLower(scheme) + "." + host), dns.TypeSVCB
}

// targetName is the name of a member that is a target by itself.
func targetName(a netip.Addr, host string) string {
	text := strings.ReplaceAll(a.String(), ".", "-")
	if !a.Is4() {
		text = strings.ReplaceAll(a.StringExpanded(), ":", "-")
	}
	return valid(text + "." + host)
}

// valid returns a name that is not too long; else "".
func valid(name string) string {
	if _, ok := dns.IsDomainName(name); !ok {
		return ""
	}
	return name
}

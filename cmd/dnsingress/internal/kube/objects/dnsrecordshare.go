// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/chain"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/kuadrant"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// Chains says how chains are answered.
const (
	chainsPublished = "publish"
	chainsCollapsed = "collapse"
)

// sharer is one of the objects that have records of one root host: a DNSRecord, or a DNSPolicy with the listeners of
// that host. To have the same root host is to share it, as in Kuadrant: their records are published together, by the
// one that was first. Everything else that claims a name that another has does not get it.
type sharer struct {
	ref         model.Ref
	created     time.Time
	annotations map[string]string
	base        string
	sets        []model.RecordSet
	paths       map[setKey]string
	problems    []model.Problem
	gateway     string                            // code of a policy's Gateway
	build       func(lb string) []model.RecordSet // of a policy: its sets, which depend on what the chain is called
}

// sharedPool gives what is published of a root host, where ref is the first that has it; else its problems alone, and
// who is first. nil: ref does not have the host.
func (s *Settings) sharedPool(ref model.Ref, base string, v View) (pool *model.Pool, with *model.Ref) {
	all := s.sharers(base, v)
	mine := slices.IndexFunc(all, func(x sharer) bool { return x.ref == ref })
	if mine < 0 {
		return nil, nil
	}
	first := all[0]
	pool = &model.Pool{Ref: ref, Created: all[mine].created, Problems: all[mine].problems}
	problem := func(reason string, k setKey, format string, a ...any) {
		pool.Problems = append(pool.Problems, model.Problem{Reason: reason, Path: all[mine].paths[k], Message: fmt.Sprintf(format, a...)})
	}
	parts := make([][]model.RecordSet, len(all))
	for i, x := range all {
		parts[i] = x.sets
		if i == 0 || s.Allowed == nil {
			continue // those of the first are checked where they are published
		}
		parts[i] = slices.DeleteFunc(slices.Clone(x.sets), func(set model.RecordSet) bool {
			bad := !s.Allowed(x.ref.Namespace, set.Name)
			if bad && i == mine {
				problem("NotAllowed", setKey{set.Name, set.Type}, "%s is not for objects of namespace %s (hint: kubernetes.hosts in the configuration)", set.Name, x.ref.Namespace)
			}
			return bad
		})
	}
	sets, conflicts := chain.Merge(parts...)
	for _, c := range conflicts {
		if c.Part != mine {
			continue
		}
		k := setKey{c.Name, c.Type}
		if c.Beside == c.Type {
			problem(record.CNAMEConflict, k, "%s %s %s is not published: another record or weight for the same clients was there first (hint: a setIdentifier of its own; one gateway alone is the default geo)",
				c.Name, dns.Type(c.Type), c.Record.Data)
		} else {
			problem(record.CNAMEConflict, k, "%s %s %s is not published: %s records were at that name first, and a CNAME stands alone (RFC 1034 §3.6.2) (hint: another name)",
				c.Name, dns.Type(c.Type), c.Record.Data, dns.Type(c.Beside))
		}
	}
	sets, loops := chain.Unloop(sets)
	for _, names := range loops {
		for _, set := range parts[mine] {
			if set.Type == dns.TypeCNAME && slices.Contains(names, set.Name) {
				problem(record.RecordLoop, setKey{set.Name, set.Type}, "%s leads to itself and is not published: %s (hint: the last of them needs addresses, or another target)",
					set.Name, circle(names))
				break
			}
		}
	}
	dangling := chain.Dangling(sets, base)
	for _, target := range slices.Sorted(maps.Keys(dangling)) {
		from := dangling[target]
		for _, set := range parts[mine] {
			if set.Type == dns.TypeCNAME && set.Name == from {
				pool.Problems = append(pool.Problems, model.Problem{Reason: "NoSuchTarget", Path: all[mine].paths[setKey{from, dns.TypeCNAME}], Notice: true, Message: fmt.Sprintf(
					"%s leads to %s, which has no records (hint: an endpoint of that name, or another target)", from, target)})
				break
			}
		}
	}
	if mine > 0 {
		return pool, &first.ref
	}
	mode, problems := s.Prefixes.choice(first.annotations, "chains", cmp.Or(s.Chains, chainsPublished), chainsPublished, chainsCollapsed)
	pool.Problems = append(pool.Problems, problems...)
	if mode == chainsCollapsed {
		sets = chain.Collapse(sets, base)
	} else {
		sets = chain.Ground(sets, base, func(name string) bool { return s.apex(name, v) })
	}
	pool.Records = sets
	return pool, nil
}

// circle is the names of one, as text.
func circle(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], " → ") + fmt.Sprintf(" → … (%d names)", len(names))
	}
	return strings.Join(append(slices.Clone(names), names[0]), " → ")
}

// sharers are all that have records of a root host, the first that had it first.
func (s *Settings) sharers(base string, v View) []sharer {
	var all []sharer
	for _, o := range find[*kuadrant.DNSRecord](v, DNSRecordsByRoot, base) {
		if o.DeletionTimestamp == nil && !s.Prefixes.foreign(o.Annotations) {
			all = append(all, s.readDNSRecord(o))
		}
	}
	seen := map[model.Ref]bool{}
	for _, gw := range find[*gatewayv1.Gateway](v, GatewaysByHost, base) {
		for _, p := range find[*kuadrant.DNSPolicy](v, DNSPoliciesByGateway, Key(gw.Namespace, gw.Name)) {
			for _, x := range s.readDNSPolicy(p, v).sharers {
				if x.base == base && !seen[x.ref] {
					seen[x.ref] = true
					all = append(all, x)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b sharer) int { return cmp.Or(a.created.Compare(b.created), a.ref.Compare(b.ref)) })
	first := slices.IndexFunc(all, func(x sharer) bool { return x.build != nil })
	for i := range all {
		if x := &all[i]; x.build != nil {
			x.sets = x.build(all[first].gateway)
		}
	}
	return all
}

// apex reports whether a name is the origin of a zone. Where it is not known which there are, those are that people can
// register.
func (s *Settings) apex(name string, v View) bool {
	if s.origin(name, v) {
		return true
	}
	if s.Origins != nil {
		return false
	}
	bare := strings.TrimSuffix(name, ".")
	registered, err := publicsuffix.EffectiveTLDPlusOne(bare)
	return err == nil && registered == bare
}

// origin reports whether a name is known to be the origin of a zone, of the configuration or of a DNSZone.
func (s *Settings) origin(name string, v View) bool {
	return slices.Contains(s.Origins, name) || len(v.Find(DNSZonesByOrigin, name)) > 0
}

// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// listedSerial is that of the zones that are written out: servers count on from the time at which they start.
const listedSerial = 1

// held is a zone that an object has served.
type held struct {
	*model.Zone
	reserved map[string]bool
}

// hold writes the zones' own records. Of two objects with one origin the older one has it.
func (l *listing) hold(pools []Published) {
	for _, p := range pools {
		if p.Zone != nil {
			l.origins.Set(p.Ref, p.Created, []string{p.Zone.Origin})
		}
	}
	l.zones = map[string]*held{}
	for _, p := range pools {
		if p.Zone == nil {
			continue
		}
		if owner, _ := l.origins.Owner(p.Zone.Origin); owner != p.Ref {
			l.problems = append(l.problems, Problem{p.Ref, record.OriginTaken(p.Zone.Origin, owner)})
			continue
		}
		l.zones[p.Zone.Origin] = &held{p.Zone, record.Reserved(p.Zone)}
		for _, rr := range record.ZoneRecords(p.Zone, listedSerial) {
			h := rr.Header()
			l.lines = append(l.lines, Line{
				Name: h.Name, TTL: h.Ttl, Type: dns.Type(h.Rrtype).String(), Data: strings.TrimPrefix(rr.String(), h.String()), Object: p.Ref.String(),
			})
		}
	}
}

// zoneOf is the zone that holds a name, as claimed; nil: none of those that are listed.
func (l *listing) zoneOf(key string) *held {
	name, origin := record.Place(key)
	if origin != "" {
		return l.zones[origin]
	}
	for ; name != ""; name = record.Parent(name) {
		if z := l.zones[name]; z != nil {
			return z
		}
	}
	return nil
}

// ttlIn is the TTL of a name's records that have none of their own.
func (l *listing) ttlIn(key string) uint32 {
	if z := l.zoneOf(key); z != nil {
		return record.Seconds(z.TTL)
	}
	return l.ttl
}

// plain is a name that is claimed, as it is in its zone.
func plain(key string) string {
	name, _ := record.Place(key)
	return name
}

// delegate makes the record sets of a delegation.
func (l *listing) delegate(a *arranged) []model.Problem {
	d := a.Delegation
	above, origin, ttl := l.zoneOf(record.Parent(d.Child)), "", record.Seconds(record.DefaultInfrastructureTTL)
	if above != nil {
		origin, ttl = above.Origin, record.Seconds(above.InfrastructureTTL)
	}
	placed := func(name string) string {
		if above != nil && l.zoneOf(name) != above {
			return record.Placed(name, origin)
		}
		return name
	}
	pool := a.Pool
	var wrong, problems []model.Problem
	pool.Records, wrong = record.Delegation(d, origin, ttl)
	_, a.sets, problems = record.Check(&pool, nil)
	for i := range a.sets {
		a.sets[i].Name = placed(a.sets[i].Name)
	}
	a.cut = placed(d.Child)
	return append(wrong, problems...)
}

// permitted are the pool's names that the zones which are listed leave it.
func (l *listing) permitted(a *arranged) (names []string) {
	for _, key := range a.names {
		if z := l.zoneOf(key); z != nil {
			if why, barred := record.Barred(z.Zone, z.reserved, a.Ref.Namespace, plain(key), a.Delegation != nil); barred {
				if _, made := a.made[key]; !made {
					l.problems = append(l.problems, Problem{a.Ref, why})
				}
				continue
			}
		}
		names = append(names, key)
	}
	return names
}

// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// readShare reads what a zone says of a host; nil: nothing.
func readShare(z *zone.Zone, host, origin string) (*model.Share, error) {
	sets, found := z.RRsets(shardName(host, origin, 0))
	if !found {
		return nil, nil
	}
	s := &model.Share{Host: host}
	h := head{}
	for _, t := range texts(sets) {
		if kind(t) == "pool" {
			if h.shards > 0 {
				return nil, errors.New("two records say how the pool is")
			}
			var err error
			if h, err = readHead(t); err != nil {
				return nil, err
			}
		}
	}
	if h.shards == 0 {
		return nil, errors.New("no record says how the pool is")
	}
	s.TTL = h.ttl
	var records [][]string
	for i := range h.shards {
		if i > 0 {
			sets, _ = z.RRsets(shardName(host, origin, i))
		}
		for _, t := range texts(sets) {
			switch kind(t) {
			case "member":
				m, err := readMember(t)
				if err != nil {
					return nil, err
				}
				s.Members = append(s.Members, m)
			case "record":
				records = append(records, t)
			}
		}
	}
	var err error
	if s.Records, err = readRecords(host, records); err != nil {
		return nil, err
	}
	slices.SortFunc(s.Members, func(a, b model.SharedMember) int { return a.Address.Compare(b.Address) })
	for i := 1; i < len(s.Members); i++ {
		if s.Members[i].Address == s.Members[i-1].Address {
			return nil, fmt.Errorf("%s is a member twice", s.Members[i].Address)
		}
	}
	return s, nil
}

// readRecords reads the records of a host, in an order of their own: a transfer keeps none.
func readRecords(host string, all [][]string) (sets []model.RecordSet, err error) {
	slices.SortFunc(all, slices.Compare)
	for _, texts := range all {
		r, err := readRecord(texts)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(sets, func(s model.RecordSet) bool { return s.Type == r.Type })
		if i < 0 {
			r.Name = host
			sets = append(sets, r)
			continue
		}
		sets[i].Records = append(sets[i].Records, r.Records...)
		*sets[i].TTL = min(*sets[i].TTL, *r.TTL) // RFC 2181 §5.2
		sets[i].Stable = sets[i].Stable || r.Stable
	}
	return sets, nil
}

// kind is what a record is about.
func kind(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

// texts are those of all TXT records; there is always one list.
func texts(sets []zone.RRset) [][]string {
	var all [][]string
	for _, s := range sets {
		for _, rr := range s.Records {
			if t, ok := rr.(*dns.TXT); ok {
				all = append(all, t.Txt)
			}
		}
	}
	if all == nil {
		all = [][]string{nil}
	}
	return all
}

// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

const (
	// shardSize is how many members and records one name has before they are divided: so many records of the largest size still are one
	// set that fits a message (RFC 1035 §4.2.2), with room for an uneven division.
	shardSize  = 64
	mostShards = 1024
)

// publisher makes this cluster's private zone of what the pools are.
type publisher struct {
	origin  string
	apex    apex
	publish config.Hosts
	catalog *zone.Catalog
	log     *slog.Logger
	wake    chan struct{}

	mu      sync.Mutex
	pending map[string]*model.Share // by host; nil: it has no members any more
	hosts   int                     // that are published

	// The rest is run's alone.
	zone   *zone.Zone     // nil: there is none yet
	shards map[string]int // by host, into how many parts its pool is divided
}

// Share takes what has changed of the cluster's own answers. The first call has all of them. It does not block.
func (p *publisher) Share(changed []model.Share, gone []string) {
	p.mu.Lock()
	for i := range changed {
		if p.publish.Has(changed[i].Host) {
			p.pending[changed[i].Host] = &changed[i]
		}
	}
	for _, host := range gone {
		if p.publish.Has(host) {
			p.pending[host] = nil
		}
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run publishes until ctx ends. Until identity is known there is no zone.
func (p *publisher) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
		p.mu.Lock()
		pending := p.pending
		p.pending = map[string]*model.Share{}
		p.mu.Unlock()
		if err := p.change(pending); err != nil {
			return err
		}
		p.mu.Lock()
		p.hosts = len(p.shards)
		p.mu.Unlock()
	}
}

// begin makes the zone with its apex alone.
func (p *publisher) begin() error {
	instance := random()[:16]
	header := func(rtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: p.origin, Rrtype: rtype, Class: dns.ClassINET}
	}
	// The timers are for a server that keeps a copy as a secondary, to look at: peers go by the lease.
	seconds := uint32(max(1, p.apex.lease/time.Second))
	var err error
	p.zone, err = zone.New(p.origin, []dns.RR{
		&dns.SOA{
			Hdr: header(dns.TypeSOA), Ns: instance + "." + p.origin, Mbox: p.apex.identity + "." + p.origin,
			Serial: uint32(time.Now().Unix()), Refresh: seconds, Retry: seconds, Expire: seconds,
		},
		&dns.NS{Hdr: header(dns.TypeNS), Ns: instance + "." + p.origin},
		&dns.TXT{Hdr: header(dns.TypeTXT), Txt: p.apex.texts()},
	})
	if err != nil {
		return fmt.Errorf("making the private zone %s: %w", p.origin, err)
	}
	return nil
}

// change makes the zone hold what the shares say.
func (p *publisher) change(shares map[string]*model.Share) error {
	first := p.zone == nil
	if first {
		if err := p.begin(); err != nil {
			return err
		}
	}
	var changes []zone.Change
	for host, s := range shares {
		changes = append(changes, p.changes(host, s)...)
	}
	if len(changes) > 0 {
		next, err := p.zone.With(changes...)
		if err != nil { // a name too long, of which there are few: the others must not wait for it
			next = p.one(changes)
		}
		p.zone = next
	}
	if first || len(changes) > 0 {
		p.catalog.Publish(p.zone)
	}
	return nil
}

// one makes those of the changes that can be made.
func (p *publisher) one(changes []zone.Change) *zone.Zone {
	next := p.zone
	for _, c := range changes {
		z, err := next.With(c)
		if err != nil {
			p.log.Error("a pool is not given to other clusters", "name", c.Owner, "error", err)
			continue
		}
		next = z
	}
	return next
}

// changes are those of the zone that make it hold a share; nil: nothing of the host.
func (p *publisher) changes(host string, s *model.Share) []zone.Change {
	before := p.shards[host]
	var changes []zone.Change
	if s == nil {
		delete(p.shards, host)
		for i := range before {
			changes = append(changes, zone.Change{Owner: shardName(host, p.origin, i), Remove: true})
		}
		return changes
	}
	shards := max(before, 1)
	for s.Size()-1 > shards*shardSize && shards < mostShards {
		shards *= 2
	}
	p.shards[host] = shards
	sets := make([][]dns.RR, shards)
	add := func(shard int, texts []string) {
		sets[shard] = append(sets[shard], &dns.TXT{Hdr: dns.RR_Header{Name: shardName(host, p.origin, shard), Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: texts})
	}
	add(0, head{s.TTL, shards}.texts())
	for i := range s.Members {
		m := &s.Members[i]
		b := m.Address.As16()
		add(shardOf(b[:], shards), memberTexts(m))
	}
	for i := range s.Records {
		set := &s.Records[i]
		for k := range set.Records {
			r := &set.Records[k]
			add(shardOf([]byte(r.Data), shards), recordTexts(set, r))
		}
	}
	for i, records := range sets {
		name := shardName(host, p.origin, i)
		if len(records) == 0 {
			if i < before {
				changes = append(changes, zone.Change{Owner: name, Remove: true})
			}
			continue
		}
		changes = append(changes, zone.Change{Owner: name, RRsets: []zone.RRset{{Type: dns.TypeTXT, Records: records}}})
	}
	return changes
}

// shardOf is which part of a pool a member or a record is in: it stays there while others come and go.
func shardOf(what []byte, shards int) int {
	h := fnv.New32a()
	_, _ = h.Write(what) // it never fails
	return int(h.Sum32() % uint32(shards))
}

// shardName is the name of a part of a host's pool in the zone origin.
func shardName(host, origin string, shard int) string {
	if host != "." {
		origin = host + origin
	}
	if first, _, _ := cutLabel(host); shard == 0 && !numbered(first) {
		return origin
	}
	return "_" + strconv.Itoa(shard) + "." + origin
}

// hostOf is the host whose pool a name of the zone origin has a part of; "": none.
func hostOf(name, origin string) string {
	host := name[:max(0, len(name)-len(origin))]
	if first, rest, ok := cutLabel(host); ok && rest != "" && numbered(first) {
		return rest
	}
	return host
}

// numbered tells whether a label is as those of parts, and of ports (RFC 6698 §3), are.
func numbered(label string) bool {
	number, underscore := strings.CutPrefix(label, "_")
	_, err := strconv.ParseUint(number, 10, 16)
	return underscore && err == nil
}

func cutLabel(name string) (first, rest string, ok bool) {
	for i := range len(name) {
		if name[i] == '.' {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

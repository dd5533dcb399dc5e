// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// Sink takes what is new of peers. Its method must not block.
type Sink interface {
	Heard(model.PeerNews)
}

// Options of a Service. All but Registerer are required.
type Options struct {
	Name     string // of this cluster
	Zone     string // below which each cluster has its private zone, canonical
	Lease    time.Duration
	Publish  config.Hosts
	Clusters []config.Peer
	Keys     transfer.Keys
	// Identity gives that of this cluster. It may take long; until then there is nothing that others could have.
	Identity   func(context.Context) (string, error)
	Sink       Sink
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Service gives this cluster's pools to its peers, and follows theirs. It is a pool.Sharer.
type Service struct {
	options   Options
	origin    string // of this cluster's private zone
	private   *zone.Catalog
	publisher *publisher
	metrics   *metrics

	mu       sync.Mutex
	self     string // identity of this cluster; "": not known yet
	clusters []*cluster
	denied   map[denial]*denials
}

// cluster is a peer. All of it but what is fixed is guarded by Service.mu.
type cluster struct {
	config.Peer
	name  string
	links []*link

	up        bool
	since     time.Time               // of up
	why       string                  // why it is not up
	counted   *link                   // whose copy counts, or counted last; nil: none ever did
	confirmed time.Time               // of the copy that counts, as of the last settlement
	told      map[string]*model.Share // what the sink has, by host
	refused   map[string]bool         // hosts of the copy that counts which are not the peer's to publish
	heard     bool                    // the sink has been told anything
	timer     *time.Timer             // until the next lease ends; nil: none has begun
}

// New prepares a service; it speaks to nobody yet.
func New(o Options) (*Service, error) {
	s := &Service{options: o, origin: o.Name + "." + o.Zone, private: new(zone.Catalog), denied: map[denial]*denials{}}
	s.publisher = &publisher{
		origin: s.origin, apex: apex{cluster: o.Name, lease: o.Lease}, publish: o.Publish, catalog: s.private, log: o.Log,
		wake: make(chan struct{}, 1), pending: map[string]*model.Share{}, shards: map[string]int{},
	}
	for _, p := range o.Clusters {
		c := &cluster{Peer: p, name: p.Name, since: time.Now(), why: "not heard yet", told: map[string]*model.Share{}, refused: map[string]bool{}}
		for _, r := range p.Remotes() {
			if r.Key == "" || o.Keys[r.Key] == nil {
				return nil, fmt.Errorf("peer %s: there is no TSIG key %q", p.Name, r.Key)
			}
			c.links = append(c.links, &link{
				service: s, cluster: c, origin: p.Name + "." + o.Zone, remote: r, line: transfer.NewLine(r, o.Keys, o.Lease/polls), wake: make(chan struct{}, 1),
			})
		}
		s.clusters = append(s.clusters, c)
	}
	var err error
	s.metrics, err = newMetrics(s, o.Registerer)
	return s, err
}

// Private are the zones that peers alone may have: this cluster's.
func (s *Service) Private() *zone.Catalog { return s.private }

// Listeners are told by NOTIFY that the zone of a peer has changed, by origin.
func (s *Service) Listeners() map[string]transfer.Listener {
	all := map[string]transfer.Listener{}
	for _, c := range s.clusters {
		all[c.name+"."+s.options.Zone] = listener{c}
	}
	return all
}

// listener is told of a cluster's changes.
type listener struct{ *cluster }

// Trusts implements transfer.Listener: who has the key may be believed that there is something to look at.
func (l listener) Trusts(_ netip.Addr, key string) bool { return key == l.Key }

// Tell implements transfer.Listener.
func (l listener) Tell() {
	for _, one := range l.links {
		select {
		case one.wake <- struct{}{}:
		default:
		}
	}
}

// Share takes what has changed of this cluster's own answers, and the hosts that it has none for any more. The first call
// has all there are. It does not block.
func (s *Service) Share(changed []model.Share, gone []string) { s.publisher.Share(changed, gone) }

// Run exchanges until ctx ends. nil has nobody to exchange with.
func (s *Service) Run(ctx context.Context) error {
	if s == nil {
		return nil
	}
	ctx, end := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer func() { // also where this fails: who waits for it must hear of that
		end()
		wait.Wait()
		s.stop()
	}()
	for _, c := range s.clusters {
		for _, l := range c.links {
			wait.Go(func() { l.run(ctx) })
		}
	}
	id, err := s.options.Identity(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding the cluster's identity: %w", err)
	}
	s.mu.Lock()
	s.self, s.publisher.apex.identity = id, id
	for _, c := range s.clusters {
		s.settle(c, nil)
	}
	s.mu.Unlock()
	s.options.Log.Info("cluster has peers", "cluster", s.options.Name, "identity", id, "zone", s.origin, "peers", len(s.clusters))
	return s.publisher.run(ctx)
}

// stop ends the leases' timers.
func (s *Service) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clusters {
		if c.timer != nil {
			c.timer.Stop()
		}
	}
}

// identity is this cluster's; "": it is not known yet.
func (s *Service) identity() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.self
}

// hear takes what a look at a server has found.
func (s *Service) hear(l *link, n news, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.looked, l.took = true, n.took
	s.report(l, err)
	if err != nil {
		l.failures++
		s.settle(l.cluster, nil)
		return
	}
	l.failures, l.confirmed = 0, n.sent
	if n.fresh {
		l.take(n)
	}
	s.settle(l.cluster, &delta{l, n})
}

// take makes what the server's zone says now what is held of it.
func (l *link) take(n news) {
	if n.whole || l.held == nil {
		l.held = &held{pools: make(map[string]*model.Share, len(n.changed))}
	}
	h := l.held
	h.apex, h.instance, h.serial = n.apex, n.mark.instance, n.mark.serial
	for host, share := range n.changed {
		if old := h.pools[host]; old != nil {
			h.members -= len(old.Members)
			h.size -= old.Size()
		}
		if share == nil {
			delete(h.pools, host)
			continue
		}
		h.pools[host] = share
		h.members += len(share.Members)
		h.size += share.Size()
	}
}

// ends is when the lease of what a server confirmed last ends: no later than either side wants.
func (l *link) ends() time.Time { return l.confirmed.Add(min(l.service.options.Lease, l.held.lease)) }

// live tells whether what is held of a server is confirmed.
func (l *link) live(now time.Time) bool { return l.held != nil && now.Before(l.ends()) }

// report notes why a look failed, or that it did not, and says so once.
func (s *Service) report(l *link, err error) {
	before := l.err
	l.err = err
	if err != nil {
		s.metrics.failed(l, err)
	}
	switch {
	case err == nil && before != nil:
		s.options.Log.Info("following a server of a peer again", "cluster", l.cluster.name, "server", l.remote.Addr)
	case err != nil && (before == nil || before.Error() != err.Error()):
		s.options.Log.Warn("a server of a peer does not confirm its members; they count until their lease ends", "cluster", l.cluster.name, "server", l.remote.Addr, "error", err)
	}
}

// delta is what one look has changed.
type delta struct {
	link *link
	news news
}

// settle finds out whose copy counts for a cluster, tells the sink what that changes, and when to look again.
func (s *Service) settle(c *cluster, d *delta) {
	now := time.Now()
	s.judge(c, now)
	best := c.choose(now)
	state := model.PeerState{Name: c.name, Up: best != nil}
	if best == nil {
		if c.up {
			c.up, c.since, c.why = false, now, c.excuse(now)
			s.metrics.ended.WithLabelValues(c.name).Inc()
			s.options.Log.Warn("a peer is down: its members leave the answers", "cluster", c.name, "why", c.why)
			s.tell(c, state, nil)
		} else if c.allLooked() {
			c.why = c.excuse(now)
			if !c.heard {
				s.tell(c, state, nil)
			}
		}
		c.again(s, now)
		return
	}
	c.confirmed = best.confirmed
	was := c.up
	if !was {
		c.up, c.since, c.why = true, now, ""
		s.options.Log.Info("a peer is up: its members count", "cluster", c.name, "server", best.remote.Addr, "identity", best.held.identity, "hosts", len(best.held.pools), "members", best.held.members)
	}
	var changed map[string]*model.Share
	switch {
	case was && c.counted == best && (d == nil || d.link != best || !d.news.fresh):
	case was && c.counted == best && !d.news.whole:
		changed = s.grant(c, d.news.changed)
	default:
		changed = s.compare(c, best.held.pools)
	}
	c.counted = best
	if !was || len(changed) > 0 {
		s.tell(c, state, changed)
	}
	c.again(s, now)
}

// tell gives the sink what is new.
func (s *Service) tell(c *cluster, state model.PeerState, changed map[string]*model.Share) {
	state.Since, state.Why, state.Heard = c.since, c.why, c.confirmed
	for host, share := range changed {
		if share == nil {
			delete(c.told, host)
		} else {
			c.told[host] = share
		}
	}
	c.heard = true
	s.options.Sink.Heard(model.PeerNews{PeerState: state, Changed: changed})
}

// grant leaves of what has changed what the peer may publish, and counts the rest.
func (s *Service) grant(c *cluster, changed map[string]*model.Share) map[string]*model.Share {
	out := make(map[string]*model.Share, len(changed))
	for host, share := range changed {
		if c.Hosts.Has(host) {
			out[host] = share
			continue
		}
		if share == nil {
			delete(c.refused, host)
			continue
		}
		if !c.refused[host] {
			c.refused[host] = true
			s.metrics.refused.WithLabelValues(c.name, "host").Inc()
			if len(c.refused) == 1 {
				s.options.Log.Warn("a peer publishes a host that it was not granted; its members do not count", "cluster", c.name, "host", host, "hint", "peers.clusters[].hosts")
			}
		}
	}
	return out
}

// compare is what makes the sink have what another copy says.
func (s *Service) compare(c *cluster, pools map[string]*model.Share) map[string]*model.Share {
	maps.DeleteFunc(c.refused, func(host string, _ bool) bool { return pools[host] == nil })
	changed := s.grant(c, pools)
	maps.DeleteFunc(changed, func(host string, share *model.Share) bool { return share.Equal(c.told[host]) })
	for host := range c.told {
		if pools[host] == nil {
			changed[host] = nil
		}
	}
	return changed
}

// judge refuses servers that are not who they should be: ours, another peer's, or of another cluster that has the name of
// the one that counts.
func (s *Service) judge(c *cluster, now time.Time) {
	taken := func(id string) (by string) {
		if id == s.self {
			return "this one, " + s.options.Name
		}
		return s.holder(c, id, now)
	}
	holder := ""
	if c.counted != nil && c.counted.live(now) && taken(c.counted.held.identity) == "" {
		holder = c.counted.held.identity
	}
	for _, l := range c.links {
		why := ""
		if l.live(now) {
			switch id, by := l.held.identity, taken(l.held.identity); {
			case by != "":
				why = fmt.Sprintf("it says to be cluster %s and has the identity of %s (hint: what one keeps its identity in was copied to the other)", c.name, by)
			case holder == "":
				holder = id
			case id != holder:
				why = fmt.Sprintf("two clusters are called %s: this one has identity %s, and the one that counts %s (hint: a cluster.name of its own for each)", c.name, id, holder)
			}
		}
		if why != "" && why != l.refused {
			s.metrics.refused.WithLabelValues(c.name, "identity").Inc()
			s.options.Log.Warn("a server of a peer is refused", "cluster", c.name, "server", l.remote.Addr, "error", why)
		}
		l.refused = why
	}
}

// refusal is why the server is not who it should be; "": it is.
func (l *link) refusal() string {
	var e identityError
	if errors.As(l.err, &e) {
		return e.text
	}
	return l.refused
}

// trouble is what is wrong with the server; "": nothing.
func (l *link) trouble() string {
	if l.err != nil {
		return l.err.Error()
	}
	return l.refused
}

// holder is the other peer that is up with an identity; "": none.
func (s *Service) holder(c *cluster, identity string, now time.Time) string {
	for _, o := range s.clusters {
		if o != c && o.up && o.counted.live(now) && o.counted.held.identity == identity {
			return o.name
		}
	}
	return ""
}

// choose returns the server whose copy counts: the one that does already, as long as it answers; else the first that
// does; else the one that did so last. nil: no copy is confirmed.
func (c *cluster) choose(now time.Time) *link {
	var best *link
	better := func(a, b *link) bool {
		if (a.failures == 0) != (b.failures == 0) {
			return a.failures == 0
		}
		if (a == c.counted) != (b == c.counted) {
			return a == c.counted
		}
		return a.failures > 0 && a.confirmed.After(b.confirmed)
	}
	for _, l := range c.links {
		if l.live(now) && l.refusal() == "" && (best == nil || better(l, best)) {
			best = l
		}
	}
	return best
}

// again has the cluster settled when the next lease ends.
func (c *cluster) again(s *Service, now time.Time) {
	var next time.Time
	for _, l := range c.links {
		if l.live(now) && (next.IsZero() || l.ends().Before(next)) {
			next = l.ends()
		}
	}
	if next.IsZero() {
		return
	}
	if c.timer != nil {
		c.timer.Reset(next.Sub(now))
		return
	}
	c.timer = time.AfterFunc(next.Sub(now), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settle(c, nil)
	})
}

// allLooked tells whether every server has been asked once.
func (c *cluster) allLooked() bool {
	return !slices.ContainsFunc(c.links, func(l *link) bool { return !l.looked })
}

// excuse is why the cluster is not up.
func (c *cluster) excuse(now time.Time) string {
	text := ""
	for _, l := range c.links {
		if trouble := l.trouble(); trouble != "" {
			if text != "" {
				text += "; "
			}
			text += l.remote.Addr.String() + ": " + trouble
		}
	}
	if c.confirmed.IsZero() {
		return text
	}
	heard := fmt.Sprintf("the lease has ended, last heard %v ago", now.Sub(c.confirmed).Round(100*time.Millisecond))
	if text == "" {
		return heard
	}
	return heard + "; " + text
}

// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

const (
	compareTimeout = 2 * time.Second // of one question
	compareAtOnce  = 8
	comparePort    = 53
	// silentRounds is how many comparisons in a row nobody answers before that is said.
	silentRounds = 3
)

// Delegation is what a zone that is served here says of a child.
type Delegation struct {
	Child       string // canonical
	Zone        string // that says so
	Object      string
	Nameservers []model.Nameserver // with the addresses that are published for them here, and those of the zone itself
	DS          []string           // in presentation form
}

// ComparerOptions are those of a Comparer. All are required.
type ComparerOptions struct {
	// Delegations are those to be compared now: of objects, for what is registered is healed by who registers.
	Delegations func() []Delegation
	// Remark makes problems all that comparisons say of a child's delegation.
	Remark   func(child string, problems []model.Problem)
	Interval time.Duration // 0: nothing is compared
	Port     uint16        // that name servers are asked at; 0: 53
	Metrics  *Metrics
	Log      *slog.Logger
}

// Comparer asks the name servers of children what they say of themselves.
type Comparer struct {
	options ComparerOptions

	mu     sync.Mutex
	last   map[string]Compared
	silent map[string]int
}

// Compared is what the last comparison of a delegation found.
type Compared struct {
	Child    string    `json:"child"`
	Zone     string    `json:"zone"`
	Object   string    `json:"object"`
	Result   string    `json:"result"` // same, other or unanswered
	At       time.Time `json:"at"`
	Problems []string  `json:"problems,omitempty"`

	remarks []model.Problem
}

// NewComparer returns a comparer that Run starts.
func NewComparer(o ComparerOptions) *Comparer {
	if o.Port == 0 {
		o.Port = comparePort
	}
	return &Comparer{options: o, last: map[string]Compared{}, silent: map[string]int{}}
}

// Run compares each interval until ctx ends.
func (c *Comparer) Run(ctx context.Context) error {
	if c.options.Interval == 0 {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(c.options.Interval)):
		}
		c.round(ctx)
	}
}

// round compares all delegations once.
func (c *Comparer) round(ctx context.Context) {
	all := c.options.Delegations()
	c.forget(all)
	places := make(chan struct{}, compareAtOnce)
	var wait sync.WaitGroup
	for _, d := range all {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			x := c.compare(ctx, d)
			if ctx.Err() == nil {
				c.conclude(x)
			}
		})
	}
	wait.Wait()
}

// forget drops what was found of delegations that are not there any more.
func (c *Comparer) forget(all []Delegation) {
	here := map[string]bool{}
	for _, d := range all {
		here[d.Child] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for child, x := range c.last {
		if !here[child] {
			delete(c.last, child)
			delete(c.silent, child)
			c.options.Metrics.disagrees.DeleteLabelValues(child, "child")
			if len(x.remarks) > 0 {
				c.options.Remark(child, nil)
			}
		}
	}
}

// conclude counts a comparison and tells what it found, where that is other than before.
func (c *Comparer) conclude(x Compared) {
	c.mu.Lock()
	if x.Result == "unanswered" {
		if c.silent[x.Child]++; c.silent[x.Child] < silentRounds {
			x.remarks = c.last[x.Child].remarks // what was heard before stands a while
		}
	} else {
		delete(c.silent, x.Child)
	}
	before := c.last[x.Child]
	for _, p := range x.remarks {
		x.Problems = append(x.Problems, p.Reason+": "+p.Message)
	}
	c.last[x.Child] = x
	c.mu.Unlock()
	c.options.Metrics.result(x.Child, "child", x.Result)
	if slices.Equal(before.remarks, x.remarks) {
		return
	}
	for _, p := range x.remarks {
		c.options.Log.Warn("comparing a delegation with its child", "child", x.Child, "object", x.Object, "reason", p.Reason, "message", p.Message)
	}
	if len(x.remarks) == 0 {
		c.options.Log.Info("parent and child agree again", "child", x.Child, "object", x.Object)
	}
	c.options.Remark(x.Child, x.remarks)
}

// List is what the last comparisons found, by child.
func (c *Comparer) List() []Compared {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []Compared{}
	for _, x := range c.last {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Compared) int { return strings.Compare(a.Child, b.Child) })
	return out
}

// compare asks all name servers of a child whose addresses are known.
func (c *Comparer) compare(ctx context.Context, d Delegation) Compared {
	x := Compared{Child: d.Child, Zone: d.Zone, Object: d.Object, Result: "same", At: time.Now().UTC().Truncate(time.Second)}
	heard := 0
	asked := 0
	var silent []string
	for _, n := range d.Nameservers {
		for _, a := range n.Addresses {
			asked++
			problem, err := c.ask(ctx, d, a)
			who := n.Name + " at " + a.String()
			switch {
			case err != nil:
				silent = append(silent, who+": "+err.Error())
			case problem != "":
				heard++
				x.Result = "other"
				x.remarks = append(x.remarks, model.Problem{Reason: ChildDisagree, Notice: true, Message: fmt.Sprintf("name server %s of %s %s (hint: the same on both sides)", who, d.Child, problem)})
			default:
				heard++
			}
		}
	}
	if len(silent) > 0 && heard > 0 {
		x.remarks = append(x.remarks, model.Problem{Reason: Unanswered, Notice: true, Message: "of the name servers of " + d.Child + " these do not answer for it: " + strings.Join(silent, "; ")})
	} else if len(silent) > 0 {
		x.Result = "unanswered"
		x.remarks = []model.Problem{{Reason: Unanswered, Notice: true, Message: "no name server of " + d.Child + " answers for it: " + strings.Join(silent, "; ")}}
	}
	if asked == 0 {
		x.Result = "unanswered"
	}
	return x
}

// ask says how one name server of a child disagrees with a delegation; "": it does not.
func (c *Comparer) ask(ctx context.Context, d Delegation, at netip.Addr) (problem string, err error) {
	r, err := c.question(ctx, at, d.Child, dns.TypeNS)
	switch {
	case err != nil:
		return "", err
	case r.Rcode != dns.RcodeSuccess || !r.Authoritative:
		return "is not authoritative for it: it says " + dns.RcodeToString[r.Rcode], nil
	}
	says, _ := serversOf(r, d.Child)
	if !sameNames(d.Nameservers, says) {
		return "says that the zone's name servers are " + names(bareNames(says)) + ", not " + names(bareNames(d.Nameservers)), nil
	}
	for _, n := range says {
		i := slices.IndexFunc(d.Nameservers, func(o model.Nameserver) bool { return o.Name == n.Name })
		// Only the child knows the addresses of names in it, and only then the parent holds copies.
		if dns.IsSubDomain(d.Child, n.Name) && len(n.Addresses) > 0 && !sameServers([]model.Nameserver{n}, d.Nameservers[i:i+1]) {
			return "says " + names([]model.Nameserver{n}) + ", not " + names(d.Nameservers[i:i+1]), nil
		}
	}
	if len(d.DS) == 0 {
		return "", nil
	}
	if r, err = c.question(ctx, at, d.Child, dns.TypeDNSKEY); err != nil {
		return "", err
	}
	if !anyKey(r, d.DS) {
		return "has no key that a DS of the delegation names: resolvers that validate find the zone bogus", nil
	}
	return "", nil
}

// anyKey reports whether one of the keys in a message is what one of the digests names.
func anyKey(r *dns.Msg, digests []string) bool {
	for _, rr := range r.Answer {
		key, ok := rr.(*dns.DNSKEY)
		if !ok {
			continue
		}
		for _, digest := range []uint8{dns.SHA1, dns.SHA256, dns.SHA384} {
			if ds := key.ToDS(digest); ds != nil && slices.Contains(digests, dataOf(ds)) {
				return true
			}
		}
	}
	return false
}

// question asks one address, over TCP where the reply is truncated.
func (c *Comparer) question(ctx context.Context, at netip.Addr, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	to := netip.AddrPortFrom(at, c.options.Port).String()
	r, _, err := (&dns.Client{Timeout: compareTimeout}).ExchangeContext(ctx, m, to)
	if err == nil && r.Truncated {
		r, _, err = (&dns.Client{Net: "tcp", Timeout: compareTimeout}).ExchangeContext(ctx, m, to)
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) { // without our port, which is another each time
		if err = op.Err; op.Timeout() {
			err = errors.New("no answer in time")
		}
	}
	return r, err
}

func bareNames(list []model.Nameserver) (out []model.Nameserver) {
	for _, n := range list {
		out = append(out, model.Nameserver{Name: n.Name})
	}
	return out
}

func sameNames(a, b []model.Nameserver) bool { return sameServers(bareNames(a), bareNames(b)) }

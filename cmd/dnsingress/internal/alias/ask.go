// SPDX-License-Identifier: Apache-2.0

package alias

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
)

// mostHops bounds the CNAMEs that are gone along, as common resolvers do.
const mostHops = 16

// udpSize is what crosses every IPv6 path in one piece.
const udpSize = 1232

// Configured gives the resolvers at the addresses, or without any those that the resolv.conf at path names each time.
func Configured(addresses []string, path string) (func() ([]dnsclient.Exchanger, error), error) {
	var fixed []dnsclient.Exchanger
	for _, a := range addresses {
		s, err := dnsclient.ParseServer(a)
		if err != nil {
			return nil, fmt.Errorf("reading resolvers: %w", err)
		}
		fixed = append(fixed, s)
	}
	return func() ([]dnsclient.Exchanger, error) {
		if len(fixed) > 0 {
			return fixed, nil
		}
		conf, err := dns.ClientConfigFromFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading resolvers: %w (hint: kubernetes.resolvers)", err)
		}
		var servers []dnsclient.Exchanger
		for _, text := range conf.Servers {
			a, err := netip.ParseAddr(text)
			if err != nil {
				continue
			}
			s, err := dnsclient.ParseServer("[" + a.String() + "]:" + conf.Port)
			if a.Is4() {
				s, err = dnsclient.ParseServer(a.String() + ":" + conf.Port)
			}
			if err == nil {
				servers = append(servers, s)
			}
		}
		if len(servers) == 0 {
			return nil, fmt.Errorf("%s names no resolver (hint: kubernetes.resolvers)", path)
		}
		return servers, nil
	}, nil
}

// ask finds both families of the task's name anew, as far as that can be, and returns when to do so again.
func (r *Resolver) ask(ctx context.Context, t *task) (life time.Duration, result string) {
	var answers [2]dnsclient.Answer
	var errs [2]error
	servers, err := r.options.Servers()
	if err != nil {
		errs = [2]error{err, err}
	} else {
		var wait sync.WaitGroup
		for i, qtype := range [2]uint16{dns.TypeAAAA, dns.TypeA} {
			wait.Go(func() { answers[i], errs[i] = r.addresses(ctx, servers, t.name, qtype) })
		}
		wait.Wait()
	}
	now := time.Now()
	life = most
	var missing []error
	failed := false
	families := t.families
	for i, a := range answers {
		f := &families[i]
		switch {
		case errs[i] != nil:
			failed = true
			missing = append(missing, errs[i])
			continue
		case a.Err != nil:
			f.addresses = nil
			if a.TTL == 0 {
				a.TTL = negative
			}
		default:
			f.addresses = slices.Clone(a.Addrs)
			slices.SortFunc(f.addresses, netip.Addr.Compare)
			f.addresses = slices.Compact(f.addresses)
		}
		f.at = now
		life = min(life, a.TTL)
	}
	o := Outcome{Addresses: slices.Concat(families[0].addresses, families[1].addresses), At: families[0].at}
	if families[1].at.Before(o.At) {
		o.At = families[1].at
	}
	switch {
	case failed:
		o.Err = plain(errors.Join(missing...))
		result = "failure"
		life = min(life, retry<<min(t.failures, 5), lastTry)
	case len(o.Addresses) == 0:
		o.Err = errors.New("it has no addresses")
		if answers[0].Err != nil && answers[0].Err.Kind == dnsclient.NXDomain {
			o.Err = errors.New("there is no such name")
		}
		result = "none"
	default:
		result = "addresses"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.families, t.outcome = families, o; failed {
		t.failures++
	} else {
		t.failures = 0
	}
	return max(life, least), result
}

// plain is an error in one line, each cause once.
func plain(err error) error {
	lines := strings.Split(err.Error(), "\n")
	return errors.New(strings.Join(slices.Compact(lines), "; "))
}

// addresses asks the servers one after another until one answers.
func (r *Resolver) addresses(ctx context.Context, servers []dnsclient.Exchanger, name string, qtype uint16) (dnsclient.Answer, error) {
	var last error
	for _, s := range servers {
		a, err := r.chase(ctx, s, name, qtype)
		if err == nil {
			return a, nil
		}
		if last = err; ctx.Err() != nil {
			break
		}
	}
	return dnsclient.Answer{}, last
}

// chase asks one server, and goes along a chain of CNAMEs that it gives in pieces.
func (r *Resolver) chase(ctx context.Context, s dnsclient.Exchanger, name string, qtype uint16) (dnsclient.Answer, error) {
	owner, ttl := name, dnsclient.Forever
	for range mostHops {
		reply, err := r.exchange(ctx, s, owner, qtype)
		if err != nil {
			return dnsclient.Answer{}, err
		}
		a, err := dnsclient.Interpret(owner, qtype, reply)
		if err != nil {
			return dnsclient.Answer{}, err
		}
		end, least := chainEnd(owner, reply)
		if a.TTL = min(a.TTL, ttl); a.Err == nil || a.Err.Kind == dnsclient.NXDomain || end == owner || denied(reply) {
			return a, nil
		}
		owner, ttl = end, min(ttl, least)
	}
	return dnsclient.Answer{}, fmt.Errorf("looking up %s: the chain of CNAMEs is too long or a loop", name)
}

// chainEnd is the name that the CNAMEs in a reply lead to, and the least of their TTLs.
func chainEnd(name string, m *dns.Msg) (end string, ttl time.Duration) {
	end, ttl = name, dnsclient.Forever
	for range m.Answer {
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, end) {
				end, ttl = dns.CanonicalName(c.Target), min(ttl, time.Duration(c.Hdr.Ttl)*time.Second)
				break
			}
		}
	}
	return end, ttl
}

// denied reports whether a reply says that there are no data, and not just that the chain leads elsewhere (RFC 2308 §2.2).
func denied(m *dns.Msg) bool {
	return slices.ContainsFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })
}

// exchange asks over UDP, and over TCP when the reply did not fit (RFC 7766 §5).
func (r *Resolver) exchange(ctx context.Context, s dnsclient.Exchanger, name string, qtype uint16) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	query := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(udpSize, false)
	reply, err := s.Exchange(ctx, "udp", query)
	if err == nil && reply.Truncated {
		reply, err = s.Exchange(ctx, "tcp", query)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("no answer in time")
		}
		return nil, fmt.Errorf("asking %v: %w", s, err)
	}
	return reply, nil
}

// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// specReader reads parts of a DNSZone or DNSDelegation that the API server has not checked where the object is in a file.
type specReader struct{ problems []model.Problem }

func (r *specReader) problem(path, hint, format string, a ...any) {
	message := "spec." + path + ": " + fmt.Sprintf(format, a...)
	if hint != "" {
		message += " (hint: " + hint + ")"
	}
	r.problems = append(r.problems, model.Problem{Reason: v1alpha1.ReasonInvalid, Path: "spec." + path, Message: message})
}

// duration reads a time; without stands where there is none.
func (r *specReader) duration(path string, d v1alpha1.Duration, without time.Duration) time.Duration {
	if d == "" {
		return without
	}
	value, err := time.ParseDuration(string(d))
	if err != nil {
		r.problem(path, "5s, 1h", "%q is no time", d)
	}
	return value
}

func (r *specReader) addresses(path string, all []v1alpha1.Address) (out []netip.Addr) {
	for i, text := range all {
		a, err := netip.ParseAddr(string(text))
		if err != nil || a.Zone() != "" || a.Is4In6() {
			r.problem(fmt.Sprintf("%s[%d]", path, i), "", "%q is no IP address", text)
			continue
		}
		out = append(out, a)
	}
	return out
}

func (r *specReader) nameservers(all []v1alpha1.Nameserver) (out []model.Nameserver) {
	for i, ns := range all {
		out = append(out, model.Nameserver{Name: canonicalOr(ns.Name), Addresses: r.addresses(fmt.Sprintf("nameservers[%d].addresses", i), ns.Addresses)})
	}
	return out
}

// canonicalOr is the canonical form of a name; an empty one stays empty.
func canonicalOr(name string) string {
	if name == "" {
		return ""
	}
	return dns.CanonicalName(name)
}

// translateDNSZone has a zone served. One that cannot be read stays as it was.
func translateDNSZone(o *v1alpha1.DNSZone, _ View, _ *Settings) Result {
	r, spec := specReader{}, &o.Spec
	z := model.Zone{
		Origin: canonicalOr(spec.Origin), Upper: spec.Role == "upper", Nameservers: r.nameservers(spec.Nameservers), Addresses: r.addresses("addresses", spec.Addresses),
		TTL: r.duration("ttl", spec.TTL, record.DefaultTTL), NegativeTTL: r.duration("negativeTTL", spec.NegativeTTL, record.DefaultNegativeTTL),
		InfrastructureTTL: r.duration("infrastructureTTL", spec.InfrastructureTTL, record.DefaultInfrastructureTTL),
		MaxAnswers:        record.DefaultMaxAnswers, Namespaces: spec.AllowedNamespaces,
	}
	if spec.Role != "" && spec.Role != "leaf" && spec.Role != "upper" {
		r.problem("role", "leaf or upper", "%q is unknown", spec.Role)
	}
	if spec.MaxAnswers != nil {
		z.MaxAnswers = int(*spec.MaxAnswers)
	}
	if s := spec.SOA; s != nil {
		z.SOA = model.SOA{
			Primary: canonicalOr(s.Primary), Mailbox: canonicalOr(s.Mailbox),
			Refresh: r.duration("soa.refresh", s.Refresh, 0), Retry: r.duration("soa.retry", s.Retry, 0), Expire: r.duration("soa.expire", s.Expire, 0),
		}
	}
	record.ZoneDefaults(&z)
	if len(r.problems) == 0 {
		for _, m := range record.CheckZone(&z) {
			r.problem(m.Path, m.Hint, "%s", m.Text)
		}
	}
	pool := model.Pool{Ref: Ref(o, DNSZone, ""), Created: o.CreationTimestamp.Time, Problems: r.problems, Zone: &z}
	if len(r.problems) > 0 {
		pool.Zone, pool.KeepZone = nil, true
	}
	return Result{Pools: []model.Pool{pool}, Outcome: o.Generation}
}

// translateDNSDelegation has a child zone referred to.
func translateDNSDelegation(o *v1alpha1.DNSDelegation, _ View, s *Settings) Result {
	r, spec := specReader{}, &o.Spec
	d := model.Delegation{Child: canonicalOr(spec.Zone), Nameservers: r.nameservers(spec.Nameservers)}
	if _, ok := dns.IsDomainName(d.Child); !ok || d.Child == "" || d.Child == "." {
		r.problem("zone", "shop.apps.example.org", "%q is no name that a zone below another can have", spec.Zone)
	}
	if len(d.Nameservers) == 0 {
		r.problem("nameservers", "nameservers: [{name: ns1."+d.Child+", addresses: [...]}]", "a delegation needs at least one nameserver")
	}
	for i, ns := range d.Nameservers {
		if _, ok := dns.IsDomainName(ns.Name); !ok || ns.Name == "" {
			r.problem(fmt.Sprintf("nameservers[%d].name", i), "", "%q is no host name", spec.Nameservers[i].Name)
		}
	}
	if spec.TTL != "" {
		ttl := r.duration("ttl", spec.TTL, 0)
		if ttl%time.Second != 0 || ttl < 0 || ttl/time.Second > 1<<31-1 { // RFC 2181 §8
			r.problem("ttl", "whole seconds, such as 5s or 1h", "%v is no time that DNS can carry", ttl)
		}
		seconds := record.Seconds(ttl)
		d.TTL = &seconds
	}
	for i, ds := range spec.DS {
		data := fmt.Sprintf("%d %d %d %s", ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest))
		if want := map[int32]int{1: 40, 2: 64, 4: 96}[ds.DigestType]; want != len(ds.Digest) {
			r.problem(fmt.Sprintf("ds[%d].digest", i), "digestType 2 (SHA-256): 64 hexadecimal digits", "%d digits are no digest of type %d", len(ds.Digest), ds.DigestType)
		} else if _, err := record.Parse("a.", dns.TypeDS, 0, data); err != nil {
			r.problem(fmt.Sprintf("ds[%d]", i), "", "%v", err)
		}
		d.DS = append(d.DS, data)
	}
	pool := model.Pool{Ref: Ref(o, DNSDelegation, ""), Created: o.CreationTimestamp.Time, Problems: r.problems, Delegation: &d}
	if len(r.problems) > 0 {
		pool.Delegation, pool.KeepZone = nil, true
	}
	return Result{Pools: []model.Pool{pool}, Outcome: o.Generation}
}

func statusDNSZone(o *v1alpha1.DNSZone, x Standing) *v1alpha1.DNSZone {
	out := o.DeepCopy()
	zoneStatus(&out.Status, o.Generation, x)
	return out
}

func statusDNSDelegation(o *v1alpha1.DNSDelegation, x Standing) *v1alpha1.DNSDelegation {
	out := o.DeepCopy()
	zoneStatus(&out.Status, o.Generation, x)
	return out
}

// zoneStatus says whether an object can be used and whether it is answered from. While nothing is known of it, what is there
// stays; so does a serial once it is there, as those of replicas differ.
func zoneStatus(s *v1alpha1.ZoneStatus, generation int64, x Standing) {
	reason, messages := wrongs(x)
	served := x.Served.Zone != ""
	if seen, _ := x.Outcome.(int64); seen != generation || !served && len(messages) == 0 {
		return
	}
	accepted := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted, Message: notices(x)}
	if len(messages) > 0 {
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, reason, clip(strings.Join(messages, "; "))
	}
	programmed := metav1.Condition{Type: v1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotProgrammed, Message: "it is not answered from: Accepted says why"}
	switch {
	case !served:
		s.Zone, s.Serial = "", 0
	default:
		if s.ObservedGeneration != generation || s.Zone != x.Served.Zone || s.Serial == 0 {
			s.Zone, s.Serial = x.Served.Zone, int64(x.Served.Serial)
		}
		programmed.Status, programmed.Reason = metav1.ConditionTrue, v1alpha1.ReasonProgrammed
		programmed.Message = fmt.Sprintf("in zone %s since serial %d", s.Zone, s.Serial)
		if len(messages) > 0 {
			programmed.Message += ", as far as Accepted does not say otherwise"
		}
	}
	s.ObservedGeneration = generation
	x.Set(&s.Conditions, generation, accepted)
	x.Set(&s.Conditions, generation, programmed)
	treeConditions(s, generation, x)
}

// treeConditions say whether parent and child agree and whether uppers take registrations. They are there once there has been
// something to say, which is then said of replicas that have found nothing, too.
func treeConditions(s *v1alpha1.ZoneStatus, generation int64, x Standing) {
	for _, c := range []struct {
		kind, good string
		reasons    []string
	}{
		{v1alpha1.ConditionConsistent, v1alpha1.ReasonConsistent, []string{v1alpha1.ReasonParentDisagrees, v1alpha1.ReasonChildDisagrees, v1alpha1.ReasonLeavesDisagree, v1alpha1.ReasonUnanswered}},
		{v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, []string{v1alpha1.ReasonNotRegistered, v1alpha1.ReasonLastNameserver}},
	} {
		condition := metav1.Condition{Type: c.kind, Status: metav1.ConditionTrue, Reason: c.good}
		var messages []string
		for _, p := range x.Problems {
			if !slices.Contains(c.reasons, p.Reason) {
				continue
			}
			if messages = appendNew(messages, p.Message); condition.Status == metav1.ConditionTrue {
				condition.Status, condition.Reason = metav1.ConditionFalse, p.Reason
			}
		}
		if condition.Message = clip(strings.Join(messages, "; ")); condition.Message != "" || meta.FindStatusCondition(s.Conditions, c.kind) != nil {
			x.Set(&s.Conditions, generation, condition)
		}
	}
}

// notices are what an object's owner should know though all of it is published.
func notices(x Standing) string {
	var out []string
	for _, p := range x.Problems {
		if p.Notice {
			out = appendNew(out, p.Message)
		}
	}
	return clip(strings.Join(out, "; "))
}

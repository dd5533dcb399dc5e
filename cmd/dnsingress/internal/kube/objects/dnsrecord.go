// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/chain"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/kuadrant"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// translateDNSRecord publishes the records of a root host, together with those of all objects that share it.
func translateDNSRecord(o *kuadrant.DNSRecord, v View, s *Settings) Result {
	if s.Prefixes.foreign(o.Annotations) {
		return Result{}
	}
	mine := s.readDNSRecord(o)
	if mine.base == "" {
		return Result{Problems: mine.problems}
	}
	pool, with := s.sharedPool(mine.ref, mine.base, v)
	if pool == nil {
		return Result{}
	}
	if with != nil {
		// The first of those that share it publishes them all.
		return Result{Problems: pool.Problems, Outcome: with}
	}
	return Result{Pools: []model.Pool{*pool}}
}

// rootOf gives the host that all endpoints of a DNSRecord are at or below, as its owner wrote it, and where. Before
// there was rootHost it was dnsName.
func rootOf(o *kuadrant.DNSRecord) (root, path string) {
	if o.Spec.RootHost != "" {
		return o.Spec.RootHost, "spec.rootHost"
	}
	return o.Spec.DNSName, "spec.dnsName"
}

// baseOfRecord is the name by which DNSRecords share a host: without "*.", canonical; empty: there is none.
func baseOfRecord(o *kuadrant.DNSRecord) string {
	root, _ := rootOf(o)
	if root == "" || !hostname(root) {
		return ""
	}
	return chain.Base(dns.CanonicalName(root))
}

// readDNSRecord reads the endpoints of a DNSRecord by itself.
func (s *Settings) readDNSRecord(o *kuadrant.DNSRecord) sharer {
	out := sharer{ref: Ref(o, DNSRecord, ""), created: o.CreationTimestamp.Time, annotations: o.Annotations, base: baseOfRecord(o)}
	r := endpointReader{aliasTTL: seconds(chain.AliasTTL), otherTTL: seconds(chain.AddressTTL)}
	r.stable, r.problems = s.Prefixes.stable(o.Annotations)
	root, path := rootOf(o)
	switch {
	case root == "":
		r.problem(record.InvalidName, "spec", "spec.rootHost is missing (hint: the host name that all endpoints are at or below)")
	case out.base == "":
		r.problem(record.InvalidName, path, "%s %q is no host name (hint: letters, digits and hyphens between dots, at most 63 bytes each; * only as the first label)", path, root)
	}
	if out.base == "" {
		out.problems = r.problems
		return out
	}
	type stray struct {
		index int
		name  string
	}
	var strays []stray
	for i, e := range o.Spec.Endpoints {
		if e == nil {
			continue
		}
		if hostname(e.DNSName) && !dns.IsSubDomain(out.base, chain.Base(dns.CanonicalName(e.DNSName))) {
			strays = append(strays, stray{i, e.DNSName})
			continue
		}
		r.read(e, fmt.Sprintf("spec.endpoints[%d]", i))
	}
	for _, x := range strays {
		hint := "a name at or below it"
		if meant := meantName(x.name, r.sets, out.base); meant != "" {
			hint = "perhaps " + meant + " is meant"
		}
		r.problem("OutsideRootHost", fmt.Sprintf("spec.endpoints[%d].dnsName", x.index),
			"%s is neither %s nor below it, and is not published (hint: %s)", x.name, strings.TrimSuffix(out.base, "."), hint)
	}
	r.alone()
	out.sets, out.problems, out.paths = r.sets, r.problems, r.paths
	return out
}

// meantName guesses which name of a DNSRecord was meant by one that is outside its root host: one with the same first
// label, and of several the most like it; empty: there is none.
func meantName(stray string, sets []model.RecordSet, base string) string {
	first, _, _ := strings.Cut(strings.ToLower(stray), ".")
	best, least := "", 0
	for _, s := range sets {
		names := []string{s.Name}
		for _, r := range s.Records {
			if s.Type == dns.TypeCNAME && dns.IsSubDomain(base, r.Data) {
				names = append(names, r.Data)
			}
		}
		for _, name := range names {
			if label, _, _ := strings.Cut(name, "."); label != first {
				continue
			}
			d := strictyaml.Distance(strings.ToLower(stray), strings.TrimSuffix(name, "."))
			if best == "" || d < least || d == least && name < best {
				best, least = name, d
			}
		}
	}
	return strings.TrimSuffix(best, ".")
}

func seconds(n uint32) *uint32 { return &n }

// Conditions and reasons of Kuadrant's.
const (
	conditionReady    = "Ready"
	conditionEnforced = "Enforced"
	conditionAccepted = "Accepted"

	reasonSuccess    = "ProviderSuccess"
	reasonError      = "ProviderError"
	reasonValidation = "ValidationError"
)

// ourWords begin the messages of conditions that other controllers set, too, by which we know which are ours.
const ourWords = "dnsingress: "

// others reports whether somebody else has set a condition, which is then left alone.
func others(conditions []metav1.Condition, kind string) bool {
	c := meta.FindStatusCondition(conditions, kind)
	return c != nil && !strings.HasPrefix(c.Message, ourWords)
}

// statusDNSRecord says whether the records are served. Where Kuadrant's own operator looks after the object, its
// conditions stay its own.
func statusDNSRecord(o *kuadrant.DNSRecord, x Standing) *kuadrant.DNSRecord {
	out := o.DeepCopy()
	good := "all records are published"
	if with, ok := x.Outcome.(*model.Ref); ok {
		good = fmt.Sprintf("published together with those of %s, which had the root host first", with)
	}
	c := publishedCondition(x, good)
	x.Set(&out.Status.Conditions, o.Generation, c)
	if slices.Contains(o.Finalizers, kuadrant.Finalizer) || others(o.Status.Conditions, conditionReady) {
		return out
	}
	out.Status.ObservedGeneration = o.Generation
	c.Type, c.Message = conditionReady, clip(ourWords+c.Message)
	switch {
	case c.Status == metav1.ConditionTrue:
		c.Reason = reasonSuccess
		if o.Spec.HealthCheck != nil {
			c.Message += "; spec.healthCheck is not heeded"
		}
	case slices.Contains([]string{"NameTaken", "NotAllowed", "OutsideZones"}, c.Reason):
		c.Reason = reasonError
	default:
		c.Reason = reasonValidation
	}
	x.Set(&out.Status.Conditions, o.Generation, c)
	return out
}

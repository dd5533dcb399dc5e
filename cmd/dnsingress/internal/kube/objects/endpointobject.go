// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// translateDNSEndpoint publishes the records as they stand.
func translateDNSEndpoint(o *externaldns.DNSEndpoint, _ View, s *Settings) Result {
	if s.Prefixes.foreign(o.Annotations) {
		return Result{}
	}
	r := endpointReader{}
	r.stable, r.problems = s.Prefixes.stable(o.Annotations)
	for i, e := range o.Spec.Endpoints {
		if e != nil {
			r.read(e, fmt.Sprintf("spec.endpoints[%d]", i))
		}
	}
	r.alone()
	if len(r.sets)+len(r.problems) == 0 {
		return Result{}
	}
	return Result{Pools: []model.Pool{{
		Ref: Ref(o, DNSEndpoint, ""), Created: o.CreationTimestamp.Time, Records: r.sets, Problems: r.problems,
	}}, Outcome: len(r.sets)}
}

// statusDNSEndpoint says which generation was seen, as external-dns does, and what keeps it from being published whole.
func statusDNSEndpoint(o *externaldns.DNSEndpoint, x Standing) *externaldns.DNSEndpoint {
	out := o.DeepCopy()
	out.Status.ObservedGeneration = o.Generation
	sets, _ := x.Outcome.(int)
	x.Set(&out.Status.Conditions, o.Generation, publishedCondition(x, fmt.Sprintf("%d record sets", sets)))
	return out
}

// stable reads whether a client, known by its subnet, always gets the same of equally good options.
func (p Prefixes) stable(annotations map[string]string) (stable bool, problems []model.Problem) {
	value, problems := p.choice(annotations, "stable", "false", "true", "false")
	return value == "true", problems
}

// choice reads an annotation under the policy prefix that has one of few values; without stands where there is none.
func (p Prefixes) choice(annotations map[string]string, name, without string, values ...string) (value string, problems []model.Problem) {
	key := p.Policy + name
	text, ok := annotations[key]
	if !ok {
		return without, nil
	}
	for _, v := range values {
		if text == v {
			return v, nil
		}
	}
	return without, []model.Problem{{Reason: "InvalidAnnotation", Path: annotationPath(key), Message: fmt.Sprintf(
		"annotation %s: %q is unknown and counts for nothing (hint: %s)", key, text, strings.Join(values, " or "))}}
}

// publishedCondition is the one that says whether all of an object is served.
func publishedCondition(x Standing, good string) metav1.Condition {
	c := metav1.Condition{Type: conditionPublished, Status: metav1.ConditionTrue, Reason: reasonPublished, Message: good}
	reason, messages := wrongs(x)
	if len(messages) > 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reason, clip(strings.Join(messages, "; "))
	}
	return c
}

// wrongs are what keeps parts of an object from being published, and the reason of the first.
func wrongs(x Standing) (reason string, messages []string) {
	for _, p := range x.Problems {
		if p.Notice {
			continue
		}
		if reason == "" {
			reason = p.Reason
		}
		messages = appendNew(messages, p.Message)
	}
	return reason, messages
}

// clip makes a text fit into a condition.
func clip(text string) string {
	if len(text) <= mostMessage {
		return text
	}
	return strings.ToValidUTF8(text[:mostMessage-3], "") + "..."
}

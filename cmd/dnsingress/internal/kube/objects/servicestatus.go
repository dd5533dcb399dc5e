// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Conditions of a Service. They are there only where something is, or was, to be said: most Services are never written.
const (
	conditionPublished  = "dnsingress.dev/Published"
	conditionPortsMatch = "dnsingress.dev/PortsMatch"

	reasonPublished = "Published"
	reasonMatch     = "PortsMatch"
)

// mostMessage is how long a condition's message may be (metav1.Condition).
const mostMessage = 32768

// plainService reports whether a Service has none of the conditions.
func plainService(o client.Object) bool {
	conditions := o.(*corev1.Service).Status.Conditions
	return meta.FindStatusCondition(conditions, conditionPublished) == nil && meta.FindStatusCondition(conditions, conditionPortsMatch) == nil
}

// standService says of a Service what keeps it from being published whole, and whether clients come to other ports than
// its own.
func standService(svc *corev1.Service, x Standing) *corev1.Service {
	var wrong, ports []string
	reason := ""
	for _, p := range x.Problems {
		switch {
		case p.Reason == "PortTranslated":
			ports = appendNew(ports, p.Message)
		case !p.Notice:
			wrong = appendNew(wrong, p.Message)
			if reason == "" {
				reason = p.Reason
			}
		}
	}
	if len(wrong) == 0 && len(ports) == 0 && plainService(svc) {
		return nil
	}
	out := svc.DeepCopy()
	say := func(kind, good, bad string, messages []string) {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: good}
		if len(messages) > 0 {
			c.Status, c.Reason = metav1.ConditionFalse, bad
			c.Message = strings.Join(messages, "; ")
			c.Message = strings.ToValidUTF8(c.Message[:min(len(c.Message), mostMessage)], "")
		} else if meta.FindStatusCondition(out.Status.Conditions, kind) == nil {
			return
		}
		x.Set(&out.Status.Conditions, svc.Generation, c)
	}
	say(conditionPublished, reasonPublished, reason, wrong)
	say(conditionPortsMatch, reasonMatch, "PortTranslated", ports)
	return out
}

// SPDX-License-Identifier: Apache-2.0

// Package statustest writes down for tests what statuses of Gateway API say.
package statustest

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Lines gives what the status of a GatewayClass, Gateway or route says, of parents only what our controller says: a line
// a condition, with its message where it is false, and a line for what it is a condition of. Nothing for other kinds.
func Lines(o client.Object, controller gatewayv1.GatewayController) (lines []string) {
	conditions := func(all []metav1.Condition) {
		for _, c := range all {
			if c.Status == metav1.ConditionUnknown { // the API server's default: nobody has said anything
				continue
			}
			line := fmt.Sprintf("    %s=%s %s", c.Type, c.Status, c.Reason)
			if c.Status == metav1.ConditionFalse && c.Reason != string(gatewayv1.ListenerReasonNoConflicts) {
				line += ": " + c.Message
			}
			if c.ObservedGeneration != o.GetGeneration() {
				line += fmt.Sprintf(" (of generation %d, not %d)", c.ObservedGeneration, o.GetGeneration())
			}
			if c.LastTransitionTime.IsZero() {
				line += " (of no time)"
			}
			lines = append(lines, line)
		}
	}
	var parents []gatewayv1.RouteParentStatus
	switch o := o.(type) {
	case *gatewayv1.GatewayClass:
		conditions(o.Status.Conditions)
	case *gatewayv1.Gateway:
		conditions(o.Status.Conditions)
		for _, l := range o.Status.Listeners {
			var kinds []string
			for _, k := range l.SupportedKinds {
				kinds = append(kinds, string(k.Kind))
			}
			lines = append(lines, fmt.Sprintf("  listener %s attached=%d kinds=%s", l.Name, l.AttachedRoutes, strings.Join(kinds, ",")))
			conditions(l.Conditions)
		}
	case *gatewayv1.HTTPRoute:
		parents = o.Status.Parents
	case *gatewayv1.GRPCRoute:
		parents = o.Status.Parents
	case *gatewayv1.TLSRoute:
		parents = o.Status.Parents
	}
	for _, p := range parents {
		if p.ControllerName != controller {
			continue
		}
		line := "  parent " + string(p.ParentRef.Name)
		if p.ParentRef.SectionName != nil {
			line += " section=" + string(*p.ParentRef.SectionName)
		}
		if p.ParentRef.Port != nil {
			line += fmt.Sprintf(" port=%d", *p.ParentRef.Port)
		}
		lines = append(lines, line)
		conditions(p.Conditions)
	}
	return lines
}

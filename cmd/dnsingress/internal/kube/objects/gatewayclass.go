// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// DefaultController is what GatewayClasses and IngressClasses that are ours name as their controller, where the
// configuration says nothing else.
const DefaultController = "dnsingress.dev/gateway"

// className is that of the GatewayClass and the IngressClass which are ours also where there is no such object.
const className = "dnsingress"

// verdict is the reason of a condition that is not as it should be, and its message. Zero: it is.
type verdict struct{ reason, message string }

func (v verdict) ok() bool { return v.reason == "" }

// condition is one that is true unless v says why not.
func (v verdict) condition(kind, reason, message string) metav1.Condition {
	if !v.ok() {
		return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: v.reason, Message: v.message}
	}
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

// ourGateway reports whether a Gateway is of a class of ours.
func (s *Settings) ourGateway(v View, gw *gatewayv1.Gateway) bool {
	class := get[*gatewayv1.GatewayClass](v, GatewayClass, "", string(gw.Spec.GatewayClassName))
	if class == nil {
		return gw.Spec.GatewayClassName == className
	}
	return class.Spec.ControllerName == gatewayv1.GatewayController(s.controller()) && classVerdict(class).ok()
}

// ourIngress reports whether an Ingress is of a class of ours.
func (s *Settings) ourIngress(v View, name string) bool {
	class := get[*networkingv1.IngressClass](v, IngressClass, "", name)
	if class == nil {
		return name == className
	}
	return class.Spec.Controller == s.controller()
}

func (s *Settings) controller() string {
	if s.Controller == "" {
		return DefaultController
	}
	return s.Controller
}

// classVerdict says whether a GatewayClass that names our controller can be used.
func classVerdict(class *gatewayv1.GatewayClass) verdict {
	if class.Spec.ParametersRef != nil {
		return verdict{string(gatewayv1.GatewayClassReasonInvalidParameters), "spec.parametersRef: this controller has no parameters (hint: leave it out; the configuration of dnsingress has all there is to set)"}
	}
	return verdict{}
}

// translateGatewayClass publishes nothing; its outcome is what Accepted says, nil for another controller's class.
func translateGatewayClass(class *gatewayv1.GatewayClass, _ View, s *Settings) Result {
	if class.Spec.ControllerName != gatewayv1.GatewayController(s.controller()) {
		if !s.Files || class.Name != className {
			return Result{}
		}
		return Result{Problems: []model.Problem{{Reason: "OtherController", Path: "spec.controllerName", Notice: true, Message: fmt.Sprintf(
			"class %s is that of controller %q, whose Gateways are published by their addresses (hint: %s is the one that publishes pods; kubernetes.controller in the configuration)",
			class.Name, class.Spec.ControllerName, s.controller())}}}
	}
	v := classVerdict(class)
	return Result{Outcome: &v, Problems: v.problems("spec.parametersRef")}
}

// statusGatewayClass sets the condition Accepted.
func statusGatewayClass(class *gatewayv1.GatewayClass, x Standing) *gatewayv1.GatewayClass {
	v, ok := x.Outcome.(*verdict)
	if !ok {
		return class
	}
	out := class.DeepCopy()
	x.Set(&out.Status.Conditions, class.Generation, v.condition(string(gatewayv1.GatewayClassConditionStatusAccepted),
		string(gatewayv1.GatewayClassReasonAccepted), "Gateways of this class publish the pods of their routes' backends"))
	return out
}

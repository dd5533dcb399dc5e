// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
)

// policyTargets are the objects that a SteeringPolicy names.
func policyTargets(o *v1alpha1.SteeringPolicy) []string {
	var out []string
	for _, t := range o.Spec.TargetRefs {
		if key := t.Kind + "/" + Key(o.Namespace, t.Name); !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// policyHosts are the host names that a SteeringPolicy names.
func policyHosts(o *v1alpha1.SteeringPolicy) []string {
	var out []string
	for _, h := range o.Spec.Hostnames {
		if key := Key(o.Namespace, dns.CanonicalName(h)); !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

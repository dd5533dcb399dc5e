// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion returns the API's group and version.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "dnsingress.dev", Version: "v1alpha1"}
}

// AddToScheme makes the types known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &SteeringPolicy{}, &SteeringPolicyList{}, &DNSZone{}, &DNSZoneList{}, &DNSDelegation{}, &DNSDelegationList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}

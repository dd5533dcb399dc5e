// SPDX-License-Identifier: Apache-2.0

package kuadrant

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// PolicyVersion is that of DNSPolicy.
func PolicyVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "kuadrant.io", Version: "v1"}
}

// AddPolicyToScheme makes DNSPolicy known.
func AddPolicyToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(PolicyVersion(), &DNSPolicy{}, &DNSPolicyList{})
	metav1.AddToGroupVersion(s, PolicyVersion())
	return nil
}

// DNSPolicy has the listeners of a Gateway published.
//
// +kubebuilder:object:root=true
type DNSPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DNSPolicySpec   `json:"spec,omitempty"`
	Status DNSPolicyStatus `json:"status,omitempty"`
}

// DNSPolicySpec is what is wanted.
type DNSPolicySpec struct {
	TargetRef     TargetRef      `json:"targetRef"`
	HealthCheck   *HealthCheck   `json:"healthCheck,omitempty"`
	LoadBalancing *LoadBalancing `json:"loadBalancing,omitempty"`
	ProviderRefs  []Reference    `json:"providerRefs,omitempty"`
	// ExcludeAddresses are addresses, host names and networks in CIDR notation that are not published.
	ExcludeAddresses []string `json:"excludeAddresses,omitempty"`
	Delegate         bool     `json:"delegate,omitempty"`
}

// TargetRef names a Gateway of the same namespace, or with SectionName one of its listeners.
type TargetRef struct {
	Group       string  `json:"group"`
	Kind        string  `json:"kind"`
	Name        string  `json:"name"`
	SectionName *string `json:"sectionName,omitempty"`
}

// LoadBalancing is how clients are shared out among clusters.
type LoadBalancing struct {
	// Weight is that of this cluster's gateways; nil: 120, which the API server fills in.
	Weight *int64 `json:"weight,omitempty"`
	// Geo is where the gateway is: a country, a continent (GEO-EU), or default.
	Geo string `json:"geo"`
	// DefaultGeo has the gateway answer clients of all places that have none of their own, too.
	DefaultGeo bool `json:"defaultGeo"`
}

// DNSPolicyStatus is what became of it.
type DNSPolicyStatus struct {
	Conditions         []metav1.Condition            `json:"conditions,omitempty"`
	ObservedGeneration int64                         `json:"observedGeneration,omitempty"`
	HealthCheck        *HealthCheckStatus            `json:"healthCheck,omitempty"`
	RecordConditions   map[string][]metav1.Condition `json:"recordConditions,omitempty"` // by host
	TotalRecords       int32                         `json:"totalRecords,omitempty"`     // listeners that are published
}

// DNSPolicyList is several.
//
// +kubebuilder:object:root=true
type DNSPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DNSPolicy `json:"items"`
}

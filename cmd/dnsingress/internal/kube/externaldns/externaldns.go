// SPDX-License-Identifier: Apache-2.0

// Package externaldns has the types of external-dns's API that are read: DNSEndpoint of externaldns.k8s.io/v1alpha1,
// and the endpoints of which that and Kuadrant's DNSRecord consist. What is here is what its CustomResourceDefinition
// says (v0.22.0), and conditions, which its status does not have: an API server leaves them out until it does.
//
// +kubebuilder:object:generate=true
package externaldns

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is that of DNSEndpoint.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "externaldns.k8s.io", Version: "v1alpha1"}
}

// AddToScheme makes the types known.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &DNSEndpoint{}, &DNSEndpointList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}

// Endpoint is records of one type at one name: what external-dns hands to a provider.
type Endpoint struct {
	DNSName string `json:"dnsName,omitempty"`
	// Targets are the records' data in presentation form, one a record.
	Targets []string `json:"targets,omitempty"`
	// RecordType is such as A, AAAA or CNAME.
	RecordType string `json:"recordType,omitempty"`
	// SetIdentifier tells endpoints of one name and type apart.
	SetIdentifier string `json:"setIdentifier,omitempty"`
	// RecordTTL is in seconds; 0: not said.
	RecordTTL        int64             `json:"recordTTL,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	ProviderSpecific []Property        `json:"providerSpecific,omitempty"`
}

// Property is what providers of DNS understand each in its own way.
type Property struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// Property gives the value of the first property with one of the names, and which it was.
func (e *Endpoint) Property(names ...string) (name, value string) {
	for _, n := range names {
		for _, p := range e.ProviderSpecific {
			if p.Name == n {
				return n, p.Value
			}
		}
	}
	return "", ""
}

// DNSEndpoint is endpoints that somebody wrote down.
//
// +kubebuilder:object:root=true
type DNSEndpoint struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DNSEndpointSpec   `json:"spec,omitempty"`
	Status DNSEndpointStatus `json:"status,omitempty"`
}

// DNSEndpointSpec is what is wanted.
type DNSEndpointSpec struct {
	Endpoints []*Endpoint `json:"endpoints,omitempty"` // nil where the list has a null
}

// DNSEndpointStatus is what became of it.
type DNSEndpointStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// DNSEndpointList is several.
//
// +kubebuilder:object:root=true
type DNSEndpointList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DNSEndpoint `json:"items"`
}

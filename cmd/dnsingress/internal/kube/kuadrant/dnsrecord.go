// SPDX-License-Identifier: Apache-2.0

package kuadrant

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

// Finalizer is on a DNSRecord that Kuadrant's own dns-operator publishes too.
const Finalizer = "kuadrant.io/dns-record"

// RecordVersion is that of DNSRecord.
func RecordVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "kuadrant.io", Version: "v1alpha1"}
}

// AddRecordToScheme makes DNSRecord known.
func AddRecordToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(RecordVersion(), &DNSRecord{}, &DNSRecordList{})
	metav1.AddToGroupVersion(s, RecordVersion())
	return nil
}

// DNSRecord is the records of one listener host.
//
// +kubebuilder:object:root=true
type DNSRecord struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DNSRecordSpec   `json:"spec,omitempty"`
	Status DNSRecordStatus `json:"status,omitempty"`
}

// DNSRecordSpec is what is wanted.
type DNSRecordSpec struct {
	OwnerID string `json:"ownerID,omitempty"`
	// RootHost is that which all endpoints are at or below; "*." in front does not count for that.
	RootHost    string                  `json:"rootHost,omitempty"`
	ProviderRef *Reference              `json:"providerRef,omitempty"`
	Endpoints   []*externaldns.Endpoint `json:"endpoints,omitempty"` // nil where the list has a null
	HealthCheck *HealthCheck            `json:"healthCheck,omitempty"`
	Delegate    bool                    `json:"delegate,omitempty"`

	// DNSName is what RootHost was called before there was one.
	DNSName string `json:"dnsName,omitempty"`
	// ManagedZone is what ProviderRef was before there was one.
	ManagedZone *Reference `json:"managedZone,omitempty"`
}

// Reference names an object of the same namespace.
type Reference struct {
	Name string `json:"name"`
}

// HealthCheck is how Kuadrant asks the addresses of a listener.
type HealthCheck struct {
	Port                 int              `json:"port,omitempty"`
	Path                 string           `json:"path,omitempty"`
	Protocol             string           `json:"protocol,omitempty"`
	Interval             *metav1.Duration `json:"interval,omitempty"`
	AdditionalHeadersRef *Reference       `json:"additionalHeadersRef,omitempty"`
	FailureThreshold     int              `json:"failureThreshold,omitempty"`
}

// DNSRecordStatus is what became of it. All but the first two fields are Kuadrant's own, and kept as they are.
type DNSRecordStatus struct {
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`

	QueuedAt             *metav1.Time                    `json:"queuedAt,omitempty"`
	ValidFor             string                          `json:"validFor,omitempty"`
	WriteCounter         int64                           `json:"writeCounter,omitempty"`
	Endpoints            []*externaldns.Endpoint         `json:"endpoints,omitempty"`
	HealthCheck          *HealthCheckStatus              `json:"healthCheck,omitempty"`
	OwnerID              string                          `json:"ownerID,omitempty"`
	ProviderRef          *Reference                      `json:"providerRef,omitempty"`
	DomainOwners         []string                        `json:"domainOwners,omitempty"`
	ZoneID               string                          `json:"zoneID,omitempty"`
	ZoneDomainName       string                          `json:"zoneDomainName,omitempty"`
	RemoteRecordStatuses map[string]runtime.RawExtension `json:"remoteRecordStatuses,omitempty"`
	Group                string                          `json:"group,omitempty"`
	ActiveGroups         string                          `json:"activeGroups,omitempty"`
}

// HealthCheckStatus is what Kuadrant's checks found.
type HealthCheckStatus struct {
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	Probes     []ProbeStatus      `json:"probes,omitempty"`
}

// ProbeStatus is what one of them found.
type ProbeStatus struct {
	ID         string             `json:"id"`
	IPAddress  string             `json:"ipAddress"`
	Host       string             `json:"host"`
	Synced     bool               `json:"synced,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DNSRecordList is several.
//
// +kubebuilder:object:root=true
type DNSRecordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DNSRecord `json:"items"`
}

// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DNSDelegation refers those who ask for names of a child zone to its name servers. It is in the zone with the longest
// origin above the child that is served, of the configuration or a DNSZone.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=dnsingress
// +kubebuilder:printcolumn:name="Child",type=string,JSONPath=`.spec.zone`
// +kubebuilder:printcolumn:name="Parent",type=string,JSONPath=`.status.zone`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`,priority=1
// +kubebuilder:printcolumn:name="Serial",type=integer,JSONPath=`.status.serial`,priority=1
// +kubebuilder:printcolumn:name="Nameservers",type=string,JSONPath=`.spec.nameservers[*].name`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DNSDelegation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DNSDelegationSpec `json:"spec"`
	Status ZoneStatus        `json:"status,omitempty"`
}

// DNSDelegationList is a list of DNSDelegations.
//
// +kubebuilder:object:root=true
type DNSDelegationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DNSDelegation `json:"items"`
}

// DNSDelegationSpec is what the parent says of a child zone.
//
// +kubebuilder:validation:XValidation:rule=`self.nameservers.all(n, (n.name.lowerAscii() + (n.name.endsWith(".") ? "" : ".") == self.zone.lowerAscii() + (self.zone.endsWith(".") ? "" : ".") || (n.name.lowerAscii() + (n.name.endsWith(".") ? "" : ".")).endsWith("." + self.zone.lowerAscii() + (self.zone.endsWith(".") ? "" : "."))) ? has(n.addresses) && size(n.addresses) > 0 : true)`,message="a nameserver inside the child zone needs addresses: without glue nobody could find it",fieldPath=".nameservers"
type DNSDelegationSpec struct {
	// Zone is the child's origin, such as shop.apps.example.org.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9_]([A-Za-z0-9_/-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_/-]{0,61}[A-Za-z0-9_])?\.?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="another child is another delegation: make a new object"
	Zone string `json:"zone"`
	// Nameservers are those of the child, with addresses for each name inside it (RFC 9471). A name outside the child
	// and inside the parent zone may have addresses too, which are then published there.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=13
	Nameservers []Nameserver `json:"nameservers"`
	// DS are the digests of the child's keys (RFC 4034 §5). Default: none, and the child is not signed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	DS []DS `json:"ds,omitempty"`
	// TTL of all that. Default: the parent zone's infrastructureTTL.
	// +optional
	TTL Duration `json:"ttl,omitempty"`
}

// DS names a key of the child zone by its digest (RFC 4034 §5.1).
//
// +kubebuilder:validation:XValidation:rule="self.digestType != 1 || size(self.digest) == 40",message="a digest of type 1 (SHA-1) has 40 hexadecimal digits",fieldPath=".digest"
// +kubebuilder:validation:XValidation:rule="self.digestType != 2 || size(self.digest) == 64",message="a digest of type 2 (SHA-256) has 64 hexadecimal digits",fieldPath=".digest"
// +kubebuilder:validation:XValidation:rule="self.digestType != 4 || size(self.digest) == 96",message="a digest of type 4 (SHA-384) has 96 hexadecimal digits",fieldPath=".digest"
type DS struct {
	// KeyTag of the key.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	KeyTag int32 `json:"keyTag"`
	// Algorithm of the key, such as 13 (ECDSA P-256 with SHA-256) or 15 (Ed25519).
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=254
	Algorithm int32 `json:"algorithm"`
	// DigestType is 2 (SHA-256) or 4 (SHA-384); 1 (SHA-1) should not be used any more (RFC 8624 §3.3).
	// +kubebuilder:validation:Enum=1;2;4
	DigestType int32 `json:"digestType"`
	// Digest in hexadecimal digits.
	// +kubebuilder:validation:Pattern=`^[0-9A-Fa-f]+$`
	// +kubebuilder:validation:MinLength=40
	// +kubebuilder:validation:MaxLength=96
	Digest string `json:"digest"`
}

// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DNSZone is a zone that dnsingress is authoritative for, beside those of its configuration. A zone of the
// configuration counts more than one of the same origin here; of two of one origin here the older one counts.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=dnsingress
// +kubebuilder:printcolumn:name="Origin",type=string,JSONPath=`.spec.origin`
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.role`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`,priority=1
// +kubebuilder:printcolumn:name="Serial",type=integer,JSONPath=`.status.serial`,priority=1
// +kubebuilder:printcolumn:name="Nameservers",type=string,JSONPath=`.spec.nameservers[*].name`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DNSZone struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DNSZoneSpec `json:"spec"`
	Status ZoneStatus  `json:"status,omitempty"`
}

// DNSZoneList is a list of DNSZones.
//
// +kubebuilder:object:root=true
type DNSZoneList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DNSZone `json:"items"`
}

// DNSZoneSpec is a zone's own data: what zones of the configuration say too, under the same names. The names of its
// services come from other objects.
//
// +kubebuilder:validation:XValidation:rule="self.role != 'upper' || !has(self.addresses) || size(self.addresses) == 0",message="a zone of role upper only refers: it has no addresses of its own",fieldPath=".addresses"
// +kubebuilder:validation:XValidation:rule=`self.nameservers.all(n, (n.name.lowerAscii() + (n.name.endsWith(".") ? "" : ".") == self.origin.lowerAscii() + (self.origin.endsWith(".") ? "" : ".") || self.origin == "." || (n.name.lowerAscii() + (n.name.endsWith(".") ? "" : ".")).endsWith("." + self.origin.lowerAscii() + (self.origin.endsWith(".") ? "" : "."))) ? has(n.addresses) && size(n.addresses) > 0 : !has(n.addresses) || size(n.addresses) == 0)`,message="a nameserver inside the zone needs addresses, and one outside has none here",fieldPath=".nameservers"
type DNSZoneSpec struct {
	// Origin is the zone's name, such as apps.example.org.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:Pattern=`^(\.|([A-Za-z0-9_]([A-Za-z0-9_/-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_/-]{0,61}[A-Za-z0-9_])?\.?)$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="another origin is another zone: make a new object"
	Origin string `json:"origin"`
	// Role of the server in the tree of zones. leaf: it answers with addresses. upper: it only refers to others, and the
	// zone holds its DNSDelegations and its own SOA, NS and nameservers' addresses alone.
	// +optional
	// +kubebuilder:validation:Enum=leaf;upper
	// +kubebuilder:default=leaf
	Role string `json:"role,omitempty"`
	// Nameservers are the zone's NS records, with an address record for each name inside the zone.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=13
	Nameservers []Nameserver `json:"nameservers"`
	// Addresses are the origin's own A and AAAA records. Default: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Addresses []Address `json:"addresses,omitempty"`
	// SOA holds the start-of-authority fields that secondaries and resolvers read (RFC 1035 §3.3.13).
	// +optional
	SOA *SOA `json:"soa,omitempty"`
	// TTL of services' answers that set none. Default: 5s.
	// +optional
	TTL Duration `json:"ttl,omitempty"`
	// NegativeTTL is how long resolvers may remember that a name or its data does not exist (RFC 2308 §5). Default: 5s.
	// +optional
	NegativeTTL Duration `json:"negativeTTL,omitempty"`
	// InfrastructureTTL is the TTL of NS, SOA, nameservers' and the origin's addresses. Default: 5m.
	// +optional
	InfrastructureTTL Duration `json:"infrastructureTTL,omitempty"`
	// MaxAnswers bounds the addresses in one answer; which ones changes from answer to answer. 0: all that a message
	// can hold. Default: 8.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	MaxAnswers *int32 `json:"maxAnswers,omitempty"`
	// AllowedNamespaces are those whose objects may have names in the zone, by name or pattern, such as team-*. This is
	// on top of kubernetes.hosts in the configuration. Default: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9*?-]+$`
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`
}

// Nameserver is a name server of a zone.
type Nameserver struct {
	// Name is the server's host name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`
	Name string `json:"name"`
	// Addresses of a server whose name is inside the zone: without them nobody could find it (glue, RFC 9471).
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	Addresses []Address `json:"addresses,omitempty"`
}

// Address is an IPv6 or IPv4 address.
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=45
// +kubebuilder:validation:XValidation:rule="isIP(self)",message="no IP address"
type Address string

// SOA is the start of authority of a zone. The serial is the server's business.
type SOA struct {
	// Primary is the name of the primary server. Default: the first nameserver.
	// +optional
	// +kubebuilder:validation:MaxLength=254
	Primary string `json:"primary,omitempty"`
	// Mailbox of the person in charge, as a name (hostmaster.example.org.). Default: hostmaster.ORIGIN.
	// +optional
	// +kubebuilder:validation:MaxLength=254
	Mailbox string `json:"mailbox,omitempty"`
	// Refresh is how often secondaries ask for changes. Default: 1h.
	// +optional
	Refresh Duration `json:"refresh,omitempty"`
	// Retry is how soon they ask again when nobody answers. Default: 10m.
	// +optional
	Retry Duration `json:"retry,omitempty"`
	// Expire is how long they answer while nobody does. Default: 168h.
	// +optional
	Expire Duration `json:"expire,omitempty"`
}

// ZoneStatus is what became of a DNSZone or a DNSDelegation.
type ZoneStatus struct {
	// ObservedGeneration is that of the spec that the status is of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Zone is the origin of the zone that holds it.
	// +optional
	Zone string `json:"zone,omitempty"`
	// Serial is that of the zone when this generation was first answered from, as the replica that wrote it saw it:
	// serials are each replica's own, and go on with every change of a name.
	// +optional
	Serial int64 `json:"serial,omitempty"`
	// Conditions: Accepted (the spec can be used, and no other object or the configuration has what it claims) and
	// Programmed (it is answered from); Consistent and Registered where zones of a tree are compared and registered.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConditionProgrammed is the type of a condition that says whether an object is answered from.
const ConditionProgrammed = "Programmed"

// The types of conditions that are there once there has been something to say (docs/delegation.md).
const (
	// ConditionConsistent says whether the zone above and the child say the same of the child's name servers.
	ConditionConsistent = "Consistent"
	// ConditionRegistered says whether uppers refer to the name servers that register themselves.
	ConditionRegistered = "Registered"
)

// The reasons of Consistent and Registered. Those of a False one are also those of problems.
const (
	ReasonConsistent      = "Consistent"      // Consistent=True
	ReasonParentDisagrees = "ParentDisagrees" // Consistent=False: what the uppers refer to is not what the zone says
	ReasonChildDisagrees  = "ChildDisagrees"  // Consistent=False: what the child says is not what the delegation says
	ReasonLeavesDisagree  = "LeavesDisagree"  // Consistent=False: leaves register different DS records
	ReasonUnanswered      = "Unanswered"      // Consistent=False: the other side says nothing
	ReasonRegistered      = "Registered"      // Registered=True
	ReasonNotRegistered   = "NotRegistered"   // Registered=False: an upper does not take it, and says why
	ReasonLastNameserver  = "LastNameserver"  // Registered=False: all leases have ended, and the last name server stays
)

// The reasons of conditions of DNSZones and DNSDelegations, beside those of problems (docs/names.md).
const (
	ReasonProgrammed    = "Programmed"    // Programmed=True
	ReasonNotProgrammed = "NotProgrammed" // Programmed=False: Accepted says why
	ReasonConfigured    = "Configured"    // Accepted=False: the configuration has a zone of that origin
	ReasonOriginTaken   = "OriginTaken"   // Accepted=False: an older DNSZone has that origin
)

// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SteeringPolicy says which ready pods are in DNS answers, how often, and for how long answers may be
// cached. It steers pools of its own namespace. Of two policies for one pool the older one wins.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=steer,categories=dnsingress
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.status.conditions[?(@.type=="Applied")].status`
// +kubebuilder:printcolumn:name="In",type=integer,JSONPath=`.status.targets[*].pool.in`,description="Pods in the answer, of the first target"
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.targets[*].pool.ready`,description="Pods that are ready, of the first target"
// +kubebuilder:printcolumn:name="FailOpen",type=boolean,JSONPath=`.status.targets[*].pool.failOpen`,priority=1
// +kubebuilder:printcolumn:name="TTL",type=integer,JSONPath=`.status.targets[*].pool.ttlSeconds`,priority=1
// +kubebuilder:printcolumn:name="Targets",type=string,JSONPath=`.status.targets[*].name`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SteeringPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SteeringPolicySpec   `json:"spec"`
	Status SteeringPolicyStatus `json:"status,omitempty"`
}

// SteeringPolicyList is a list of SteeringPolicies.
//
// +kubebuilder:object:root=true
type SteeringPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []SteeringPolicy `json:"items"`
}

// SteeringPolicySpec is what a policy wants.
//
// +kubebuilder:validation:XValidation:rule="(has(self.targetRefs) && size(self.targetRefs) > 0) || (has(self.hostnames) && size(self.hostnames) > 0)",message="a policy needs targetRefs or hostnames"
type SteeringPolicySpec struct {
	// TargetRefs are the objects whose pools are steered, in the policy's namespace.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`
	// Hostnames are names whose pools are steered, where an object of the policy's namespace publishes them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:MinLength=1
	Hostnames []string `json:"hostnames,omitempty"`
	// Signals are PromQL expressions that give each pod a value, evaluated periodically.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Signals []Signal `json:"signals,omitempty"`
	// HealthChecks are made by dnsingress itself. Each is a signal: 1 for a healthy pod, 0 for one that is not. One
	// that nothing names is a rule by itself: healthy pods are kept.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	HealthChecks []HealthCheck `json:"healthChecks,omitempty"`
	// Rules say which pods are kept. A pod is in when every rule keeps it; their order says only which rule is named.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Rules []Rule `json:"rules,omitempty"`
	// Guards keep the rules from doing harm.
	// +optional
	Guards *Guards `json:"guards,omitempty"`
	// Weight says how often a pod that is in is chosen, relative to the others.
	// +optional
	Weight *Weight `json:"weight,omitempty"`
	// Selection says how one answer is chosen from the pods that are in.
	// +optional
	Selection *Selection `json:"selection,omitempty"`
	// TTL says for how long an answer may be cached.
	// +optional
	TTL *TTL `json:"ttl,omitempty"`
	// NegativeTTL says for how long the answer of an empty pool may be cached.
	// +optional
	NegativeTTL *TTL `json:"negativeTTL,omitempty"`
	// ChurnWindow is the half-life of the memory for changes that TTL rules of kind churn go by. Default: 10m.
	// +optional
	ChurnWindow Duration `json:"churnWindow,omitempty"`
}

// TargetRef names an object of the policy's namespace that publishes names.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.group) || self.group == (self.kind == "Service" ? "" : self.kind == "Ingress" ? "networking.k8s.io" : "gateway.networking.k8s.io")`,message="the group is not that of the kind"
type TargetRef struct {
	// Group is that of the target's kind: none for a Service, networking.k8s.io for an Ingress, gateway.networking.k8s.io
	// for the others. Default: the kind's.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
	// Kind of the target. A policy on a Gateway steers the pools of all routes that are attached to it and have no
	// policy of their own.
	// +kubebuilder:validation:Enum=Service;Ingress;Gateway;HTTPRoute;GRPCRoute;TLSRoute
	Kind string `json:"kind"`
	// Name of the target.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// SteeringPolicyStatus is what became of a policy.
type SteeringPolicyStatus struct {
	// ObservedGeneration is that of the spec that the status is of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Accepted (the spec can be used; if not, the last good one stays in force) and Applied (it steers
	// a pool: its targets are there and no older policy has them).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Targets are the pools that the policy steers or would steer.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Targets []TargetStatus `json:"targets,omitempty"`
}

// TargetStatus is what became of a policy at one target.
type TargetStatus struct {
	// Kind of the target.
	Kind string `json:"kind"`
	// Name of the target.
	Name string `json:"name"`
	// Applied says whether this policy steers the target.
	Applied bool `json:"applied"`
	// Message says why it does not.
	// +optional
	Message string `json:"message,omitempty"`
	// Pool is what was decided there, in short. It is written when who is in the answer or out of it changes, not at
	// every evaluation; `dnsingress explain` shows all of it as it is now.
	// +optional
	Pool *PoolStatus `json:"pool,omitempty"`
}

// PoolStatus is what was decided on a target's pods.
type PoolStatus struct {
	// Ready is how many pods readiness alone would answer with.
	Ready int32 `json:"ready"`
	// In is how many pods are in the answer.
	In int32 `json:"in"`
	// FailOpen says that too few pods satisfied the rules, so that all ready ones are in.
	FailOpen bool `json:"failOpen"`
	// TTLSeconds is for how long an answer may be cached. Alone, only a TTL of twice or half this is written.
	TTLSeconds int32 `json:"ttlSeconds"`
	// TTLRule is what set the TTL; pool: no rule did.
	// +optional
	TTLRule string `json:"ttlRule,omitempty"`
	// Selection is how one answer is chosen from the pods that are in.
	// +optional
	Selection string `json:"selection,omitempty"`
	// Problem says why the policy does nothing there.
	// +optional
	Problem string `json:"problem,omitempty"`
	// Members are the first pods, those that are out before those that are in.
	// +optional
	// +listType=map
	// +listMapKey=address
	// +kubebuilder:validation:MaxItems=16
	Members []MemberStatus `json:"members,omitempty"`
}

// MemberStatus is what was decided on a pod.
type MemberStatus struct {
	// Address of the pod.
	Address string `json:"address"`
	// Pod is its name.
	// +optional
	Pod string `json:"pod,omitempty"`
	// State is in or out.
	// +kubebuilder:validation:Enum=in;out
	State string `json:"state"`
	// Reason for that.
	Reason string `json:"reason"`
	// Rule that decided.
	// +optional
	Rule string `json:"rule,omitempty"`
	// Since when State and Reason are these.
	// +optional
	Since metav1.Time `json:"since,omitempty"`
}

// The types of a SteeringPolicy's conditions.
const (
	ConditionAccepted = "Accepted"
	ConditionApplied  = "Applied"
)

// The reasons of a SteeringPolicy's conditions.
const (
	ReasonAccepted       = "Accepted"       // Accepted=True
	ReasonInvalid        = "Invalid"        // Accepted=False: the message says what and where
	ReasonApplied        = "Applied"        // Applied=True at every target
	ReasonConflicted     = "Conflicted"     // Applied=False: an older policy has a target
	ReasonUselessMetric  = "UselessMetric"  // Applied=False: no series of a query is a pod's of a target
	ReasonTargetNotFound = "TargetNotFound" // Applied=False: a target is not there or publishes no name
)

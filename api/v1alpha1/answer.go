// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Weight says how often a pod that is in is chosen, relative to the others.
type Weight struct {
	// By is what the weight follows. Default: equal.
	// +optional
	// +kubebuilder:validation:Enum=equal;inverse;proportional;shed;balance
	By string `json:"by,omitempty"`
	// Signal that the weight follows.
	// +optional
	Signal SignalName `json:"signal,omitempty"`
	// Value is calculated from signals, in place of signal.
	// +optional
	Value Expression `json:"value,omitempty"`
	// Shed has the watermarks of by: shed.
	// +optional
	Shed *Watermarks `json:"shed,omitempty"`
	// Gain is the part of the way to a new weight that one evaluation goes. Default: 5%.
	// +optional
	Gain Share `json:"gain,omitempty"`
	// Floor is the least weight beside the greatest. Default: 5%.
	// +optional
	Floor Share `json:"floor,omitempty"`
	// Deadband is the relative change below which a weight stays. Default: 5%.
	// +optional
	Deadband Share `json:"deadband,omitempty"`
}

// Selection says how one answer is chosen from the pods that are in.
type Selection struct {
	// Kind is the way of choosing. Default: window.
	// +optional
	// +kubebuilder:validation:Enum=window;all;random;weighted;rotate;sticky;near;two-choices;subsetting
	Kind string `json:"kind,omitempty"`
	// MaxAnswers bounds the addresses in one answer; a negative number: all. Default: the Service's, else the zone's.
	// +optional
	MaxAnswers int32 `json:"maxAnswers,omitempty"`
	// Bits4 is the length of the prefix that counts as one IPv4 client. Default: 24.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	Bits4 int32 `json:"bits4,omitempty"`
	// Bits6 is the same for IPv6. Default: 56.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	Bits6 int32 `json:"bits6,omitempty"`
	// Least is how many addresses near answers with, if need be from farther away. Default: 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Least int32 `json:"least,omitempty"`
}

// TTL says for how long an answer may be cached: the least that a rule says, within the bounds.
type TTL struct {
	// Floor is the least TTL. Default: 1s.
	// +optional
	Floor Duration `json:"floor,omitempty"`
	// Ceiling is the greatest TTL. Default: the Service's TTL, but no less than the floor.
	// +optional
	Ceiling Duration `json:"ceiling,omitempty"`
	// Rules give TTLs. Default: the Service's TTL.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Rules []TTLRule `json:"rules,omitempty"`
}

// TTLRule gives a TTL from what is known of the pool.
//
// +kubebuilder:validation:XValidation:rule="(self.kind == 'fixed') == has(self.ttl)",message="fixed needs a ttl, and the others have none"
// +kubebuilder:validation:XValidation:rule="(self.kind == 'steps') == has(self.steps)",message="steps needs steps, and the others have none"
// +kubebuilder:validation:XValidation:rule="!(self.kind in ['linear', 'exponential']) || (has(self.low) && has(self.high) && self.low != self.high)",message="linear and exponential need a low and a high that differ"
type TTLRule struct {
	// Name is what explanations call the rule. Default: its kind.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// Kind: fixed; linear, exponential or steps from a signal; churn (from how often the pool changes); calm (from the
	// time since its last change).
	// +kubebuilder:validation:Enum=fixed;linear;exponential;steps;churn;calm
	Kind string `json:"kind"`
	// TTL of fixed.
	// +optional
	TTL Duration `json:"ttl,omitempty"`
	// Signal of linear, exponential and steps.
	// +optional
	Signal SignalName `json:"signal,omitempty"`
	// Value is calculated from signals, in place of signal.
	// +optional
	Value Expression `json:"value,omitempty"`
	// Of is the statistic of the values of the pods that are in: mean, median, stddev, mad, p0 to p100. Default: mean.
	// +optional
	// +kubebuilder:validation:Pattern=`^(mean|median|stddev|mad|p([0-9]|[1-9][0-9]|100))$`
	Of string `json:"of,omitempty"`
	// Low is the value at which, and beyond, the TTL is the ceiling.
	// +optional
	Low *float64 `json:"low,omitempty"`
	// High is the value at which, and beyond, the TTL is the floor. It may be less than low.
	// +optional
	High *float64 `json:"high,omitempty"`
	// Steps of steps, rising.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Steps []Step `json:"steps,omitempty"`
	// Risk of churn: that the pool changes while an answer is cached. Default: 50%.
	// +optional
	Risk Share `json:"risk,omitempty"`
	// Growth of calm: TTL for each second since the last change, or since a server first saw the pool. Default: 50%.
	// +optional
	Growth Share `json:"growth,omitempty"`
}

// Step is one step of a TTL.
type Step struct {
	// From is the value from which on the step counts.
	From float64 `json:"from"`
	// TTL of the step.
	TTL Duration `json:"ttl"`
}

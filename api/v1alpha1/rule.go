// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Bound is a condition on a value: an operator and a limit, such as "< 8", "<= 1.5 * mean" or "< median + 3 * mad".
//
// +kubebuilder:validation:MaxLength=256
type Bound string

// Expression is calculated from signals.
//
// +kubebuilder:validation:MaxLength=1024
type Expression string

// Rule judges each ready pod that has a value.
//
// +kubebuilder:validation:XValidation:rule="(has(self.keep) ? 1 : 0) + (has(self.keepIf) ? 1 : 0) + (has(self.lowest) ? 1 : 0) + (has(self.highest) ? 1 : 0) + (has(self.shed) ? 1 : 0) == 1",message="a rule has one of keep, keepIf, lowest, highest and shed"
// +kubebuilder:validation:XValidation:rule="has(self.keep) || !has(self.readmit)",message="readmit needs keep"
// +kubebuilder:validation:XValidation:rule="has(self.keepIf) || !has(self.readmitIf)",message="readmitIf needs keepIf"
type Rule struct {
	// Name is what explanations call the rule. Default: its signal.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// Signal whose values are judged.
	// +optional
	Signal SignalName `json:"signal,omitempty"`
	// Value is calculated from signals, in place of signal.
	// +optional
	Value Expression `json:"value,omitempty"`
	// Keep is what a pod that is in must satisfy to stay.
	// +optional
	Keep Bound `json:"keep,omitempty"`
	// Readmit is what a pod that is out must satisfy to return. Default: keep.
	// +optional
	Readmit Bound `json:"readmit,omitempty"`
	// Over says whose values the bound's statistics are of: of all ready pods, or of those that are in. Default: ready.
	// +optional
	// +kubebuilder:validation:Enum=ready;in
	Over string `json:"over,omitempty"`
	// KeepIf is a condition on several signals.
	// +optional
	KeepIf Expression `json:"keepIf,omitempty"`
	// ReadmitIf is the condition for pods that are out. Default: keepIf.
	// +optional
	ReadmitIf Expression `json:"readmitIf,omitempty"`
	// Lowest keeps so many pods with the lowest values.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Lowest int32 `json:"lowest,omitempty"`
	// Highest keeps so many pods with the highest values.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Highest int32 `json:"highest,omitempty"`
	// Margin is by how much of its value an outsider must be better to take a place of lowest or highest.
	// +optional
	Margin Share `json:"margin,omitempty"`
	// Shed puts out a growing share between a low and a high watermark.
	// +optional
	Shed *Watermarks `json:"shed,omitempty"`
}

// Watermarks bound proportional shedding.
//
// +kubebuilder:validation:XValidation:rule="self.low < self.high",message="low must be below high"
type Watermarks struct {
	// Low is the value up to which nothing is shed.
	Low float64 `json:"low"`
	// High is the value from which on all is shed.
	High float64 `json:"high"`
}

// Guards keep the rules from doing harm.
type Guards struct {
	// NoData is what becomes of a ready pod for which live signals have no value: keep its last verdict, drop it, or
	// follow readiness. Default: keep.
	// +optional
	// +kubebuilder:validation:Enum=keep;drop;readiness
	NoData string `json:"noData,omitempty"`
	// Hold is the shortest time between two changes of a pod's verdict. Default: 30s.
	// +optional
	Hold Duration `json:"hold,omitempty"`
	// HoldMax bounds hold, which doubles for a pod that leaves again within this time of its return. Default: 10m.
	// +optional
	HoldMax Duration `json:"holdMax,omitempty"`
	// Votes is how many evaluations must agree to change a verdict. Default: 3.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Votes int32 `json:"votes,omitempty"`
	// Of is of how many last evaluations. Default: votes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Of int32 `json:"of,omitempty"`
	// MaxStep is the share of the ready pods that one evaluation may newly put out, at least one pod. Default: 25%.
	// +optional
	MaxStep Share `json:"maxStep,omitempty"`
	// MaxOut is the share of the ready pods that may be out at a time, at least one pod. Default: 20%.
	// +optional
	MaxOut Share `json:"maxOut,omitempty"`
	// MinMembers: when the rules would leave fewer ready pods than this, all are in. Default: 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MinMembers int32 `json:"minMembers,omitempty"`
	// MinShare: or a lesser share of them than this. The greater of both counts. Default: 50%.
	// +optional
	MinShare Share `json:"minShare,omitempty"`
	// SlowStart is the time over which the weight of a pod that enters grows to its full size. Default: 0s.
	// +optional
	SlowStart Duration `json:"slowStart,omitempty"`
	// SlowStartFrom is the share of the full weight at the beginning. Default: 10%.
	// +optional
	SlowStartFrom Share `json:"slowStartFrom,omitempty"`
}

// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Policy says which ready members are kept, with what weight, how an answer is chosen from them, and for how long it
// may be cached. The zero Policy keeps all ready members, equally, for the pool's TTL.
//
// Policies are plain values. Their keys are those of a policy document; Bound, Expr and Share read themselves from text.
type Policy struct {
	Rules       []Rule    `json:"rules"`
	Guards      Guards    `json:"guards"`
	Weight      Weight    `json:"weight"`
	Selection   Selection `json:"selection"`
	TTL         TTL       `json:"ttl"`
	NegativeTTL TTL       `json:"negativeTTL"`

	ChurnWindow time.Duration `json:"churnWindow"` // half-life of the memory for changes that TTLChurn goes by; 0: 10 m
}

// Rule judges each ready member that has a value. A member is kept when every rule keeps it: the order of the rules has
// no part in that, it says only which rule is named when several would put the member out. A rule whose signals are
// not live says nothing.
//
// A rule has one of: Keep, KeepIf, Lowest, Highest, Shed.
type Rule struct {
	Name   string `json:"name"`   // what explanations call it; empty: its signal
	Signal string `json:"signal"` // whose values are judged; empty: Value's or KeepIf's
	Value  Expr   `json:"value"`  // a number calculated from signals, in place of Signal

	// A bound on the value: absolute, or from the pool's statistics.
	Keep    Bound `json:"keep"`    // what a member that is in must satisfy to stay
	Readmit Bound `json:"readmit"` // what one that is out must satisfy to return; zero: Keep
	Over    Over  `json:"over"`    // whose values the statistics are of; empty: OverReady

	// A condition on several signals.
	KeepIf    Expr `json:"keepIf"`
	ReadmitIf Expr `json:"readmitIf"` // zero: KeepIf

	// The best by rank: as many members as have the lowest or the highest values.
	Lowest  int   `json:"lowest"`
	Highest int   `json:"highest"`
	Margin  Share `json:"margin"` // by how much of its value an outsider must be better to take a place

	// Proportional shedding.
	Shed *Watermarks `json:"shed"`
}

// Over says whose values a bound's statistics are of.
type Over string

// The choices for Over.
const (
	OverReady Over = "ready" // all ready members with a value
	OverIn    Over = "in"    // those of them that clients were sent to until now (all, if there are none)
)

// Watermarks bound proportional shedding. A value of at most Low sheds nothing, one of at least High all, and between
// them the share grows linearly. As a rule: the sum of the members' shares, rounded down, is how many of those above Low
// leave, the greatest values first; those at or above High leave in any case. As a weight: what is not shed.
type Watermarks struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Guards keep the rules from doing harm. The zero Guards hold nothing back and leave one member; Defaults gives those
// that a policy should begin with.
type Guards struct {
	NoData        NoData        `json:"noData"`        // empty: NoDataKeep
	Hold          time.Duration `json:"hold"`          // shortest time between two changes of a member's verdict, and before anybody leaves after all were let in; 0: none
	HoldMax       time.Duration `json:"holdMax"`       // one that leaves again within this time of its return stays out twice as long each time, up to this; at most Hold: never
	Votes         int           `json:"votes"`         // evaluations that must agree to change a verdict; 0: 1
	Of            int           `json:"of"`            // of so many last ones, at most 64; 0: Votes
	MaxStep       Share         `json:"maxStep"`       // of the ready members that one evaluation may newly put out, at least one member; 0: no limit
	MaxOut        Share         `json:"maxOut"`        // of the ready members that may be out at a time, at least one member; 0: no limit
	MinMembers    int           `json:"minMembers"`    // when the rules would leave fewer ready members than this, all are in; below 1 means 1
	MinShare      Share         `json:"minShare"`      // or a lesser share of them than this; the greater of both counts
	SlowStart     time.Duration `json:"slowStart"`     // over which the weight of a member that enters grows to its full size; 0: none
	SlowStartFrom Share         `json:"slowStartFrom"` // of the full weight at the beginning; 0: 10 %
}

// NoData is what becomes of a ready member for which live signals have no value.
type NoData string

// The choices for members without a value.
const (
	NoDataKeep      NoData = "keep"      // its last verdict stands for as long as a value lives, then as NoDataReadiness; a new member is in
	NoDataDrop      NoData = "drop"      // out
	NoDataReadiness NoData = "readiness" // in, because it is ready
)

// Weight says how often a member that is in is chosen, relative to the others. It takes effect with a Selection that
// heeds weights.
type Weight struct {
	By       WeightKind  `json:"by"`
	Signal   string      `json:"signal"`
	Value    Expr        `json:"value"`    // in place of Signal
	Shed     *Watermarks `json:"shed"`     // of WeightShed
	Gain     Share       `json:"gain"`     // part of the way to a new weight that one evaluation goes; 0: 5 %
	Floor    Share       `json:"floor"`    // least weight beside the greatest; 0: 5 %
	Deadband Share       `json:"deadband"` // relative change below which a weight stays; 0: 5 %
}

// WeightKind is what a weight follows.
type WeightKind string

// The kinds of weights. Values at or below zero count as the least positive one for WeightInverse and WeightBalance, and
// as the floor for WeightProportional; members without a value have the mean of the others.
const (
	WeightEqual        WeightKind = "equal"        // the same for all; also the empty kind
	WeightInverse      WeightKind = "inverse"      // 1 / value: for signals that the weight does not move, such as latency at rest
	WeightProportional WeightKind = "proportional" // the value: a capacity
	WeightShed         WeightKind = "shed"         // full below the low watermark, falling to the floor at the high one
	WeightBalance      WeightKind = "balance"      // moved until the values are equal: for signals that follow the weight, such as utilisation
)

// Selection says how one answer is chosen from the members that are in. Package zone carries it out, at each lookup.
type Selection struct {
	Kind       SelectionKind `json:"kind"`
	MaxAnswers int           `json:"maxAnswers"` // addresses in one answer; 0: the pool's, negative: all
	Bits4      int           `json:"bits4"`      // prefix length of what counts as one IPv4 client; 0: 24
	Bits6      int           `json:"bits6"`      // and of IPv6; 0: 56
	Least      int           `json:"least"`      // of SelectNear: addresses in an answer, if need be from farther away; 0: 1
}

// SelectionKind names a way of choosing.
type SelectionKind string

// The kinds of selections. The empty kind is SelectWindow.
const (
	SelectWindow     SelectionKind = "window"      // neighbours in the order of addresses, from a random place on
	SelectAll        SelectionKind = "all"         // every address
	SelectRandom     SelectionKind = "random"      // a random subset
	SelectWeighted   SelectionKind = "weighted"    // a random subset, each member as often as its weight says
	SelectRotate     SelectionKind = "rotate"      // a window that moves on with each answer
	SelectSticky     SelectionKind = "sticky"      // by rendezvous of the client's subnet and the members
	SelectNear       SelectionKind = "near"        // those near the client, others when there are too few
	SelectTwoChoices SelectionKind = "two-choices" // of two random members the heavier one
	SelectSubsetting SelectionKind = "subsetting"  // by the client's subnet, from disjoint subsets
)

// TTL says for how long an answer may be cached: the least that a rule says, within the bounds.
type TTL struct {
	Floor   time.Duration `json:"floor"`   // 0: 1 s where there are rules
	Ceiling time.Duration `json:"ceiling"` // 0: the pool's TTL, but no less than the floor
	Rules   []TTLRule     `json:"rules"`   // none: the pool's TTL; the order says only which one of equals is named
}

// TTLRule gives a TTL from what is known of the pool. Calculated TTLs are rounded down to 1, 2, 3, 4, 6, 8, 12, 16, 24 …
// seconds, so that a TTL changes seldom and replicas agree. A rule whose signal is not live says nothing.
type TTLRule struct {
	Name   string        `json:"name"` // what explanations call it; empty: its kind
	Kind   TTLKind       `json:"kind"`
	TTL    time.Duration `json:"ttl"`    // of TTLFixed
	Signal string        `json:"signal"` // of TTLLinear, TTLExponential and TTLSteps
	Value  Expr          `json:"value"`  // in place of Signal
	Of     string        `json:"of"`     // the statistic of the values of the members that are in; empty: mean
	Low    float64       `json:"low"`    // of TTLLinear and TTLExponential: here and beyond the TTL is the ceiling
	High   float64       `json:"high"`   // here and beyond the TTL is the floor; may be less than Low
	Steps  []Step        `json:"steps"`  // of TTLSteps, rising
	Risk   Share         `json:"risk"`   // of TTLChurn: that the pool changes while an answer is cached; 0: 50 %
	Growth Share         `json:"growth"` // of TTLCalm: TTL for each second since the last change, or the first decision; 0: 50 %
}

// TTLKind is what a TTL is calculated from.
type TTLKind string

// The kinds of TTL rules.
const (
	TTLFixed       TTLKind = "fixed"
	TTLLinear      TTLKind = "linear"      // between ceiling and floor as the value is between Low and High
	TTLExponential TTLKind = "exponential" // likewise, by equal factors for equal steps of the value
	TTLSteps       TTLKind = "steps"       // of the last step whose From the value has reached; before the first: the ceiling
	TTLChurn       TTLKind = "churn"       // such that the answer changes within it with probability Risk, by the rate of past changes
	TTLCalm        TTLKind = "calm"        // Growth × the time since the last change, or the first decision
)

// Step is one step of TTLSteps.
type Step struct {
	From float64       `json:"from"`
	TTL  time.Duration `json:"ttl"`
}

// Share is a part of a whole, 0 to 1. As text it is a number or a percentage: 0.25 or 25%.
type Share float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is no share (hint: 25%% or 0.25)", text)
	}
	*s = Share(f)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Share) MarshalText() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(s), 'g', -1, 64), nil
}

// plain reports whether nothing of a member is remembered and no signal judges it, so that readiness alone decides.
func (p *Policy) plain() bool {
	return len(p.Rules) == 0 && !p.Weight.measured() && p.Guards.SlowStart <= 0
}

// Defaults is the policy that readers of policies begin with: no rules, and guards with which no rule oscillates. What
// each of them is for can be seen from the stability table in docs/steering.md.
func Defaults() Policy {
	return Policy{Guards: Guards{
		NoData: NoDataKeep, Votes: 3, Hold: 30 * time.Second, HoldMax: 10 * time.Minute,
		MaxStep: 0.25, MaxOut: 0.2, MinMembers: 1, MinShare: 0.5,
	}}
}

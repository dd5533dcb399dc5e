// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bound is a condition on a member's value, such as "< 8", ">= 0.5", "< 1.5 * mean" or
// "<= median + 3 * mad". Statistics are taken over the ready members that have a value.
// The zero Bound is satisfied by every value.
type Bound struct {
	op    string // "<", "<=", ">", ">="; empty: no bound
	terms []term // their sum is the limit
}

// term is factor × statistic; an empty statistic stands for 1.
type term struct {
	factor    float64
	statistic string
}

const boundHint = `an operator < <= > >= and a limit, as in "< 8", "<= 1.5 * mean" or "< median + 3 * mad"`

// ParseBound reads a bound: OP TERM { ("+" | "-") TERM }, where OP is <, <=, > or >= and TERM is a number,
// a statistic, or number * statistic. Statistics: mean, median, stddev (of the population), mad (median
// absolute deviation), and p0 to p100 (percentiles, linearly interpolated). Its error is a *SyntaxError.
func ParseBound(s string) (Bound, error) {
	fail := func(rest, cause string) (Bound, error) {
		rest = strings.TrimLeft(rest, space)
		return Bound{}, &SyntaxError{"bound", s, len(s) - len(rest) + 1, cause, boundHint}
	}
	rest := strings.TrimLeft(s, space)
	var b Bound
	for _, op := range []string{"<=", ">=", "<", ">"} {
		if after, ok := strings.CutPrefix(rest, op); ok {
			b.op, rest = op, after
			break
		}
	}
	if b.op == "" {
		return fail(rest, "it does not begin with an operator")
	}
	sign := 1.0
	for {
		t, after, cause := parseTerm(rest)
		if cause != "" {
			return fail(after, cause)
		}
		t.factor *= sign
		b.terms = append(b.terms, t)
		after = strings.TrimLeft(after, space)
		switch {
		case after == "":
			return b, nil
		case after[0] == '+':
			sign = 1
		case after[0] == '-':
			sign = -1
		default:
			return fail(after, fmt.Sprintf("unexpected %q", after))
		}
		rest = after[1:]
	}
}

// parseTerm reads one term and returns what follows it, or what is wrong and where that is.
func parseTerm(s string) (t term, rest, wrong string) {
	word, rest := nextWord(s)
	if word == "" {
		return term{}, rest, "a number or a statistic is missing before " + describe(rest)
	}
	factor, err := strconv.ParseFloat(word, 64)
	if err != nil {
		if !knownStatistic(word) {
			return term{}, s, fmt.Sprintf("%q is neither a number nor a statistic", word)
		}
		return term{1, word}, rest, ""
	}
	if math.IsNaN(factor) || math.IsInf(factor, 0) {
		return term{}, s, fmt.Sprintf("%q is not a finite number", word)
	}
	after, times := strings.CutPrefix(strings.TrimLeft(rest, space), "*")
	if !times {
		return term{factor, ""}, rest, ""
	}
	if word, rest = nextWord(after); !knownStatistic(word) {
		return term{}, after, fmt.Sprintf("%q is not a statistic", word)
	}
	return term{factor, word}, rest, ""
}

// nextWord cuts a number or a name off the front of s. A sign belongs to a number at its front or in its exponent.
func nextWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, space)
	end := 0
	for ; end < len(s); end++ {
		c := s[end]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.'
		sign := (c == '-' || c == '+') && (end == 0 || end > 1 && s[end-1] == 'e' && s[0] <= '9')
		if !letter && !sign {
			break
		}
	}
	return s[:end], s[end:]
}

func knownStatistic(name string) bool {
	switch name {
	case "mean", "median", "stddev", "mad":
		return true
	}
	_, ok := percentile(name)
	return ok
}

// percentile reads "p95" as 0.95.
func percentile(name string) (float64, bool) {
	digits, ok := strings.CutPrefix(name, "p")
	n, err := strconv.ParseUint(digits, 10, 8)
	return float64(n) / 100, ok && err == nil && n <= 100
}

// IsZero reports whether b is the zero Bound.
func (b Bound) IsZero() bool { return b.op == "" }

// String gives the bound in the form that ParseBound reads.
func (b Bound) String() string {
	var out strings.Builder
	out.WriteString(b.op)
	for i, t := range b.terms {
		factor := t.factor
		switch {
		case i > 0 && factor < 0:
			out.WriteString(" -")
			factor = -factor
		case i > 0:
			out.WriteString(" +")
		}
		out.WriteByte(' ')
		number := strconv.FormatFloat(factor, 'g', -1, 64)
		switch {
		case t.statistic == "":
			out.WriteString(number)
		case factor == 1:
			out.WriteString(t.statistic)
		default:
			out.WriteString(number + " * " + t.statistic)
		}
	}
	return out.String()
}

// MarshalText implements encoding.TextMarshaler.
func (b Bound) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler by ParseBound.
func (b *Bound) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBound(string(text))
	return err
}

// limit is the bound's right-hand side for the sorted values of a pool.
func (b Bound) limit(sorted []float64) float64 {
	sum := 0.0
	for _, t := range b.terms {
		sum += float64(t.factor * statistic(t.statistic, sorted))
	}
	return sum
}

// holds reports whether value satisfies the bound with the given limit.
func (b Bound) holds(value, limit float64) bool { return compare(b.op, value, limit) }

// upper reports whether the bound limits values from above.
func (b Bound) upper() bool { return strings.HasPrefix(b.op, "<") }

// fixed returns the limit of a bound that has no statistic in it.
func (b Bound) fixed() (float64, bool) {
	for _, t := range b.terms {
		if t.statistic != "" {
			return 0, false
		}
	}
	return b.limit(nil), true
}

func statistic(name string, sorted []float64) float64 {
	if name == "" {
		return 1
	}
	if len(sorted) == 0 {
		return 0
	}
	switch name {
	case "mean":
		return mean(sorted)
	case "median":
		return quantile(sorted, 0.5)
	case "stddev":
		m, sum := mean(sorted), 0.0
		for _, v := range sorted {
			sum += float64((v - m) * (v - m))
		}
		return math.Sqrt(sum / float64(len(sorted)))
	case "mad":
		m := quantile(sorted, 0.5)
		away := make([]float64, len(sorted))
		for i, v := range sorted {
			away[i] = math.Abs(v - m)
		}
		slices.Sort(away)
		return quantile(away, 0.5)
	}
	q, _ := percentile(name)
	return quantile(sorted, q)
}

// mean sums in the sorted order, so that it does not depend on the order of the members.
func mean(sorted []float64) float64 {
	sum := 0.0
	for _, v := range sorted {
		sum += v
	}
	return sum / float64(len(sorted))
}

// quantile interpolates linearly between the two nearest ranks.
func quantile(sorted []float64, q float64) float64 {
	at := float64(q * float64(len(sorted)-1))
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	part := at - float64(low)
	if part == 0 || sorted[low] == sorted[low+1] {
		return sorted[low] // where infinite values stand next, the formula gives no number
	}
	return sorted[low] + float64(part*(sorted[low+1]-sorted[low]))
}

// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
)

// query judges a signal's expression: Prometheus's own parser says whether it is one and of what type, and the labels
// that an aggregation leaves whether a pod can be told from them.
func (r reader) query(at string, s signal) {
	if s.Query == "" {
		r.Problem(at, "sum by (namespace, pod) (...)", "a query is missing")
		return
	}
	if err := promql.Check(s.Query); err != nil {
		var syntax parser.ParseErrors
		if !errors.As(err, &syntax) {
			r.Problem(at, "", "%v", err)
			return
		}
		for _, e := range syntax {
			r.ProblemWithin(at, int(e.PositionRange.Start), "", "PromQL: %v", e.Err)
		}
		return
	}
	expr, err := parser.ParseExpr(s.Query)
	if err != nil {
		return // Check has said so
	}
	wanted := wantedLabels(s.Match)
	if by, ok := remaining(expr); ok && !slices.ContainsFunc(by.Grouping, func(l string) bool { return slices.Contains(wanted, l) }) {
		r.ProblemWithin(at, int(by.PosRange.Start), "sum by (namespace, pod) (...)", "PromQL: this leaves no label that tells a pod: %s", strings.Join(wanted, ", "))
	}
}

// wantedLabels are those of which a series needs one.
func wantedLabels(m match) []string {
	if m == (match{}) {
		return []string{"pod", "address", "ip", "pod_ip", "instance"}
	}
	return slices.DeleteFunc([]string{m.Pod, m.Address}, func(l string) bool { return l == "" })
}

// remaining returns the aggregation that alone decides which labels an expression's result has; false: there is none.
func remaining(e parser.Expr) (*parser.AggregateExpr, bool) {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return remaining(e.Expr)
	case *parser.UnaryExpr:
		return remaining(e.Expr)
	case *parser.BinaryExpr:
		switch {
		case e.LHS.Type() == parser.ValueTypeScalar:
			return remaining(e.RHS)
		case e.RHS.Type() == parser.ValueTypeScalar:
			return remaining(e.LHS)
		}
	case *parser.AggregateExpr:
		switch e.Op { // these keep the series that they choose as they are, or make a label
		case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO, parser.COUNT_VALUES:
			return nil, false
		}
		return e, !e.Without
	}
	return nil, false
}

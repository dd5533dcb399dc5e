// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// NoPodError says that no series of an expression's result can have a label that tells a pod.
type NoPodError struct {
	Offset int // in the expression, of what leaves none
	Wanted []string
}

func (e *NoPodError) Error() string {
	return "this leaves no label that tells a pod: " + strings.Join(e.Wanted, ", ")
}

// CheckLabels reports whether series that expr gives can have a label that tells a pod by m; if not, the error is a
// *NoPodError. What does not parse is left to Check.
func CheckLabels(expr string, m model.Match) error {
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return nil
	}
	wanted, left := m.Labels(), labelsOf(parsed)
	if left.by == nil || len(wanted) == 0 || slices.ContainsFunc(wanted, left.may) {
		return nil
	}
	return &NoPodError{int(left.by.PositionRange().Start), wanted}
}

// CheckPods is Check and CheckLabels for what has no Match.
func CheckPods(expr string) error {
	if err := Check(expr); err != nil {
		return err
	}
	if err := CheckLabels(expr, model.Match{}); err != nil {
		return fmt.Errorf("PromQL %q: %w (hint: sum by (namespace, pod) (...))", expr, err)
	}
	return nil
}

// labels are those that series of an expression's result may have.
type labels struct {
	names []string
	by    parser.Expr // what leaves but these; nil: nothing does, and any label may be there
}

func (l labels) may(name string) bool { return l.by == nil || slices.Contains(l.names, name) }

func (l labels) plus(names ...string) labels {
	return labels{slices.Concat(l.names, names), l.by}
}

// only are those of l that keep lets pass.
func (l labels) only(names []string, by parser.Expr) labels {
	return labels{slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !l.may(n) }), by}
}

func (l labels) without(names []string) labels {
	return labels{slices.DeleteFunc(slices.Clone(l.names), func(n string) bool { return slices.Contains(names, n) }), l.by}
}

// labelsOf follows the labels through an expression as Prometheus's engine does.
func labelsOf(e parser.Expr) labels {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return labelsOf(e.Expr)
	case *parser.UnaryExpr:
		return labelsOf(e.Expr)
	case *parser.SubqueryExpr:
		return labelsOf(e.Expr)
	case *parser.BinaryExpr:
		return labelsOfBinary(e)
	case *parser.AggregateExpr:
		inner := labelsOf(e.Expr)
		switch e.Op { // these keep the series that they choose as they are
		case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
			return inner
		}
		left := inner.only(e.Grouping, e)
		if e.Without {
			left = inner.without(e.Grouping)
		}
		if made, ok := e.Param.(*parser.StringLiteral); ok && e.Op == parser.COUNT_VALUES {
			left = left.plus(made.Val)
		}
		return left
	case *parser.Call:
		return labelsOfCall(e)
	}
	return labels{}
}

func labelsOfBinary(e *parser.BinaryExpr) labels {
	left, right := labelsOf(e.LHS), labelsOf(e.RHS)
	m := e.VectorMatching
	switch {
	case e.LHS.Type() == parser.ValueTypeScalar:
		return right
	case e.RHS.Type() == parser.ValueTypeScalar:
		return left
	case e.Op == parser.LOR && (left.by == nil || right.by == nil):
		return labels{}
	case e.Op == parser.LOR:
		return left.plus(right.names...)
	case e.Op.IsSetOperator():
		return left
	case m.Card == parser.CardManyToOne:
		return left.plus(m.Include...)
	case m.Card == parser.CardOneToMany:
		return right.plus(m.Include...)
	case m.On:
		return left.only(m.MatchingLabels, e)
	case left.by == nil && right.by != nil: // series match that have the same labels on both sides
		return right.without(m.MatchingLabels)
	}
	return left.without(m.MatchingLabels)
}

func labelsOfCall(e *parser.Call) labels {
	var from parser.Expr // whose labels the result has
	for _, a := range e.Args {
		if t := a.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			from = a
			break
		}
	}
	text := func(i int) string {
		if s, ok := e.Args[i].(*parser.StringLiteral); ok {
			return s.Val
		}
		return ""
	}
	switch e.Func.Name {
	case "info": // it adds labels that another metric has
		return labels{}
	case "absent", "absent_over_time": // its labels are those that the selector wants
		left := labels{by: e}
		parser.Inspect(from, func(n parser.Node, _ []parser.Node) error {
			if s, ok := n.(*parser.VectorSelector); ok {
				for _, m := range s.LabelMatchers {
					left = left.plus(m.Name)
				}
			}
			return nil
		})
		return left
	}
	if from == nil { // as vector(1) and hour()
		return labels{by: e}
	}
	inner := labelsOf(from)
	switch e.Func.Name {
	case "label_replace", "label_join":
		return inner.plus(text(1))
	}
	return inner
}

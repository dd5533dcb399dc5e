// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"fmt"

	"github.com/prometheus/prometheus/promql/parser"
)

// Check reports whether expr can give one value a pod. Its error names the position in the expression.
func Check(expr string) error {
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return fmt.Errorf("parsing PromQL %q: %w", expr, err)
	}
	if got := parsed.Type(); got != parser.ValueTypeVector {
		return fmt.Errorf("PromQL %q gives a %s (hint: an instant vector with a label pod is wanted, as in sum by (namespace, pod) (...))",
			expr, parser.DocumentedType(got))
	}
	return nil
}

// Canonical is expr as Prometheus itself would write it, so that those that differ in their white space alone are the
// same; one that does not parse stays as it is.
func Canonical(expr string) string {
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return expr
	}
	return parsed.String()
}

// Filters reports whether expr drops series by their values, as in `errors > 5`, so that no series at all is an
// answer too. Of any other expression an empty result means that its metric is away.
func Filters(expr string) bool {
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return false
	}
	filters := false
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if b, ok := n.(*parser.BinaryExpr); ok && (b.Op.IsComparisonOperator() && !b.ReturnBool || b.Op == parser.LAND || b.Op == parser.LUNLESS) {
			filters = true
		}
		return nil
	})
	return filters
}

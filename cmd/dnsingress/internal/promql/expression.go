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

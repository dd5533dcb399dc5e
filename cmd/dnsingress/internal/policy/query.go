// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
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
	m := model.Match{Pod: s.Match.Pod, Namespace: s.Match.Namespace, Address: s.Match.Address}
	if lost := (*promql.NoPodError)(nil); errors.As(promql.CheckLabels(s.Query, m), &lost) {
		r.ProblemWithin(at, lost.Offset, "sum by (namespace, pod) (...)", "PromQL: %v", lost)
	}
}

// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
)

// Comparison is what the report of two runs beside each other shows.
type Comparison struct {
	A, B      *digest.Run
	Headlines []string
	Tables    []*table.Table
}

type comparisonView struct {
	*frame
	Tables []*table.Table
	Runs   []named
	Orders []order
}

type named struct {
	Name string
	Run  *digest.Run
}

// Write writes the page.
func (c *Comparison) Write(w io.Writer) error {
	runs := []named{{"A", c.A}, {"B", c.B}}
	var from []source
	for _, r := range runs {
		from = append(from, source{r.Name, r.Run, r.Run.Cells()})
	}
	a, b := c.A.Manifest, c.B.Manifest
	f, err := newFrame(fmt.Sprintf("%s %s (A) and %s %s (B)", a.Experiment, a.RunID, b.Experiment, b.RunID), from)
	if err != nil {
		return err
	}
	f.Headlines = c.Headlines
	v := &comparisonView{frame: f, Tables: c.Tables, Runs: runs}
	for _, r := range runs {
		v.Orders = append(v.Orders, order{r.Name + ": every trial, in the order of execution", r.Run})
		for _, warning := range r.Run.AllWarnings() {
			warning.Text = warning.String()
			warning.Trial = r.Name
			f.Left = append(f.Left, warning)
		}
	}
	return write(w, "comparison.html.tmpl", v, c.A, c.B)
}

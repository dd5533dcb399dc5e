// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// Row is a line of the table of `testbed bundle`.
type Row struct {
	Name  string `json:"name"`
	Key   string `json:"key"`
	State string `json:"state"`           // "cached", "built", or "missing" in a dry run
	Ref   string `json:"ref,omitempty"`   // of an image
	Bytes int64  `json:"bytes,omitempty"` // of all its files
	Path  string `json:"path"`
}

// NewRow describes an item; before is what Look said of it earlier.
func NewRow(item, before Item) (Row, error) {
	row := Row{Name: item.Source.Name(), Key: item.Key, Path: item.Path, State: "missing"}
	if i, ok := item.Source.(*Image); ok {
		row.Ref = i.Ref()
	}
	switch {
	case before.Cached:
		row.State = "cached"
	case item.Cached:
		row.State = "built"
	}
	if !item.Cached {
		return row, nil
	}
	err := filepath.WalkDir(item.Path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			row.Bytes += info.Size()
		}
		return err
	})
	if err != nil {
		return Row{}, fmt.Errorf("measuring %s: %w", row.Name, err)
	}
	return row, nil
}

// WriteTable prints rows for people.
func WriteTable(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tMIB\tREFERENCE\tPATH")
	for _, r := range rows {
		size := "-"
		if r.State != "missing" {
			size = fmt.Sprintf("%.1f", float64(r.Bytes)/(1<<20))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Name, r.State, size, cmp.Or(r.Ref, "-"), r.Path)
	}
	return t.Flush()
}

// Choose returns the sources of these names, in the order of the catalog; all of them for no names.
func Choose(catalog []Source, names []string) ([]Source, error) {
	if len(names) == 0 {
		return catalog, nil
	}
	var chosen []Source
	var known, unknown []string
	for _, src := range catalog {
		known = append(known, src.Name())
		if slices.Contains(names, src.Name()) {
			chosen = append(chosen, src)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		return nil, fmt.Errorf("the bundle has no %s (hint: it has %s)", strings.Join(unknown, ", "), strings.Join(known, ", "))
	}
	return chosen, nil
}

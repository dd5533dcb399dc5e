// SPDX-License-Identifier: Apache-2.0

// Package table writes one table definition as Markdown, LaTeX (booktabs) and
// CSV. Markdown and LaTeX round to three significant digits for reading; CSV
// holds every digit, and the range and interval in columns of their own.
package table

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Table is a definition that every format is written from.
type Table struct {
	Name    string // file name without extension; LaTeX label tab:<Name>
	Caption string
	Columns []Column
	Rows    [][]Cell // as long as Columns each
	Notes   []string
}

// Column describes the cells below it.
type Column struct {
	Head   string // for people, with its unit
	Key    string // name in CSV, with its unit as suffix
	Right  bool   // numbers are set flush right
	Spread bool   // cells are summaries over trials: CSV gives n, min, max, ci_low and ci_high too
	Wide   bool   // left out of LaTeX, whose column is narrow
	Better Order  // which values MarkBest may mark
}

// Cell is one value.
type Cell struct {
	text    string
	exact   string
	summary *stats.Summary
	best    bool
}

// Text is a cell of words.
func Text(s string) Cell { return Cell{text: s, exact: s} }

// Count is a cell of a whole number.
func Count(n uint64) Cell {
	return Cell{text: group(strconv.FormatUint(n, 10)), exact: strconv.FormatUint(n, 10)}
}

// Number is a cell of a measured value; one that is not finite was not measured.
func Number(v float64) Cell {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Cell{text: Missing}
	}
	return Cell{text: Round(v), exact: strconv.FormatFloat(v, 'g', -1, 64)}
}

// AtLeast is a cell of a value that the measurement's end cut short.
func AtLeast(v float64) Cell {
	c := Number(v)
	c.text = "≥" + c.text
	return c
}

// Over is a cell of a summary over trials: its median, and its interval where there is one, else its range.
func Over(s stats.Summary) Cell { return Cell{summary: &s} }

// Missing is what a cell shows that has no value.
const Missing = "–"

// Round writes v with three significant digits, or as a whole number from 1,000 on.
func Round(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return "0"
	case a >= 999.5:
		return group(strconv.FormatFloat(v, 'f', 0, 64))
	case a < 0.0001:
		return strconv.FormatFloat(v, 'e', 1, 64)
	default:
		places := 2 - int(math.Floor(math.Log10(a)))
		// 9.996 rounds to 10.0, one digit more before the point.
		if rounded, _ := strconv.ParseFloat(strconv.FormatFloat(a, 'f', places, 64), 64); math.Floor(math.Log10(rounded)) > math.Floor(math.Log10(a)) {
			places--
		}
		return strconv.FormatFloat(v, 'f', max(places, 0), 64)
	}
}

func group(digits string) string {
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// parts returns the cell's value and its spread ("1.20–1.31"), empty where there is none.
func (c Cell) parts() (value, spread string) {
	s := c.summary
	switch {
	case s == nil:
		return c.text, ""
	case s.N() == 0:
		return Missing, ""
	case s.Interval != nil:
		return Round(s.Median), Round(s.Interval.Low) + "–" + Round(s.Interval.High)
	case s.N() == 1 || s.Min == s.Max:
		return Round(s.Median), ""
	default:
		return Round(s.Median), Round(s.Min) + "–" + Round(s.Max)
	}
}

// String is the cell as text and HTML show it.
func (c Cell) String() string { return c.marked("") }

// marked is the cell with its value between marks if it is the best.
func (c Cell) marked(mark string) string {
	value, spread := c.parts()
	if c.best {
		value = mark + value + mark
	}
	if spread == "" {
		return value
	}
	return value + " (" + spread + ")"
}

// Markdown writes the table with its columns aligned, so that it reads in a terminal too.
func (t *Table) Markdown(w io.Writer) error {
	cells := [][]string{{}}
	for _, c := range t.Columns {
		cells[0] = append(cells[0], c.Head)
	}
	for _, r := range t.Rows {
		row := []string{}
		for _, c := range r {
			row = append(row, strings.ReplaceAll(c.marked("**"), "|", `\|`))
		}
		cells = append(cells, row)
	}
	widths := make([]int, len(t.Columns))
	for _, r := range cells {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c), 3)
		}
	}
	var b strings.Builder
	for i, r := range cells {
		for j, c := range r {
			pad := strings.Repeat(" ", widths[j]-utf8.RuneCountInString(c))
			if t.Columns[j].Right {
				c = pad + c
			} else {
				c += pad
			}
			b.WriteString("| " + c + " ")
		}
		b.WriteString("|\n")
		if i > 0 {
			continue
		}
		for j, width := range widths {
			rule := strings.Repeat("-", width)
			if t.Columns[j].Right {
				rule = rule[1:] + ":"
			}
			b.WriteString("| " + rule + " ")
		}
		b.WriteString("|\n")
	}
	for i, n := range t.Notes {
		if i == 0 {
			b.WriteString("\n")
		}
		b.WriteString(n + "\n")
	}
	return write(w, t.Name+".md", b.String())
}

// LaTeX writes a booktabs table; the document needs \usepackage{booktabs}.
func (t *Table) LaTeX(w io.Writer) error {
	var b strings.Builder
	align, heads := "", []string{}
	for _, c := range t.Columns {
		if c.Wide {
			continue
		}
		if c.Right {
			align += "r"
		} else {
			align += "l"
		}
		heads = append(heads, EscapeLaTeX(c.Head))
	}
	fmt.Fprintf(&b, "%% Generated by analyze; do not edit. Needs \\usepackage{booktabs}.\n\\begin{table}\n\\centering\\small\n\\caption{%s}\n\\label{tab:%s}\n", EscapeLaTeX(t.Caption), t.Name)
	fmt.Fprintf(&b, "\\begin{tabular}{@{}%s@{}}\n\\toprule\n%s \\\\\n\\midrule\n", align, strings.Join(heads, " & "))
	for _, r := range t.Rows {
		var row, spreads []string
		some := false
		for i, c := range r {
			if t.Columns[i].Wide {
				continue
			}
			value, spread := c.parts()
			value = EscapeLaTeX(value)
			if c.best {
				value = `\textbf{` + value + `}`
			}
			row = append(row, value)
			if spread != "" {
				spread = `{\scriptsize ` + EscapeLaTeX(spread) + `}`
				some = true
			}
			spreads = append(spreads, spread)
		}
		b.WriteString(strings.Join(row, " & ") + " \\\\\n")
		if some { // a line of its own: side by side they do not fit a column
			b.WriteString(strings.Join(spreads, " & ") + " \\\\[2pt]\n")
		}
	}
	b.WriteString("\\bottomrule\n\\end{tabular}\n")
	if len(t.Notes) > 0 {
		notes := make([]string, len(t.Notes))
		for i, n := range t.Notes {
			notes[i] = EscapeLaTeX(n)
		}
		fmt.Fprintf(&b, "\\par\\smallskip\\parbox{\\linewidth}{\\footnotesize %s}\n", strings.Join(notes, " "))
	}
	b.WriteString("\\end{table}\n")
	return write(w, t.Name+".tex", b.String())
}

// EscapeLaTeX makes words safe in LaTeX's text mode.
func EscapeLaTeX(s string) string {
	return strings.NewReplacer(
		`\`, `\textbackslash{}`, `{`, `\{`, `}`, `\}`, `$`, `\$`, `&`, `\&`, `#`, `\#`, `%`, `\%`, `_`, `\_`,
		`^`, `\textasciicircum{}`, `~`, `\textasciitilde{}`, `–`, `--`, `≥`, `$\geq$`, `<`, `\textless{}`, `>`, `\textgreater{}`,
	).Replace(s)
}

// CSV writes every column with full precision; a value that is missing is an empty field (RFC 4180).
func (t *Table) CSV(w io.Writer) error {
	if err := csv.NewWriter(w).WriteAll(t.records()); err != nil {
		return fmt.Errorf("writing %s.csv: %w", t.Name, err)
	}
	return nil
}

// JSON writes an array with an object for each row, named as the columns in CSV; what is missing is left out.
func (t *Table) JSON(w io.Writer) error {
	records := t.records()
	rows := []map[string]any{}
	for _, r := range records[1:] {
		row := map[string]any{}
		for i, field := range r {
			if field == "" || field == Missing {
				continue
			}
			row[records[0][i]] = field
			if v, err := strconv.ParseFloat(field, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
				row[records[0][i]] = v
			} else if b, err := strconv.ParseBool(field); err == nil && strings.HasSuffix(records[0][i], "_best") {
				row[records[0][i]] = b
			}
		}
		rows = append(rows, row)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(rows); err != nil {
		return fmt.Errorf("writing %s.json: %w", t.Name, err)
	}
	return nil
}

// records returns the table as CSV holds it, the names of the columns first.
func (t *Table) records() [][]string {
	number := func(v float64) string {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	head := []string{}
	for _, c := range t.Columns {
		head = append(head, c.Key)
		if c.Spread {
			head = append(head, c.Key+"_n", c.Key+"_min", c.Key+"_max", c.Key+"_ci_low", c.Key+"_ci_high")
		}
		if c.Better != NoOrder {
			head = append(head, c.Key+"_best")
		}
	}
	rows := [][]string{head}
	for _, r := range t.Rows {
		row := []string{}
		for i, c := range r {
			s := c.summary
			switch {
			case s == nil && !t.Columns[i].Spread:
				row = append(row, c.exact)
			case s == nil:
				row = append(row, c.exact, "", "", "", "", "")
			default:
				low, high := "", ""
				if s.Interval != nil {
					low, high = number(s.Interval.Low), number(s.Interval.High)
				}
				row = append(row, number(s.Median), strconv.Itoa(s.N()), number(s.Min), number(s.Max), low, high)
			}
			if t.Columns[i].Better != NoOrder {
				row = append(row, strconv.FormatBool(c.best))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func write(w io.Writer, name, content string) error {
	if _, err := io.WriteString(w, content); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

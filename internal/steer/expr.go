// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Expr is an expression over a member's signals, such as "latency * queue" or "load < 0.8 and errors < 2 * mean(errors)".
// It gives a number or is a condition. The grammar, strict in types, is
//
//	expr   = and { "or" and }
//	and    = not { "and" not }
//	not    = "not" not | sum [ ("<" | "<=" | ">" | ">=") sum ]
//	sum    = term { ("+" | "-") term }
//	term   = factor { ("*" | "/") factor }
//	factor = NUMBER | SIGNAL | "-" factor | "(" expr ")" | FUNCTION "(" expr { "," expr } ")"
//
// A SIGNAL is a letter or "_" and letters, digits and "_". The functions of one number over the pool are mean, median,
// stddev, mad, and p0 to p100; those on a member are abs(x), min(x, y, …), max(x, y, …), and default(x, y), which is y
// where x has no value.
//
// What is calculated from no value has no value, and neither has 0 / 0. A comparison with it is unknown: "false and
// unknown" is false, "true or unknown" is true, all else with it is unknown, which counts as no value.
type Expr struct {
	source    string
	root      *node // nil: the zero Expr
	condition bool
	signals   []string // in the order of their first use
	pools     []*node  // functions over the pool, inner ones first
}

// node is an operator, a function, a signal or a number.
type node struct {
	op    string  // "number", "signal", "pool", else the operator's or function's own name; "neg" is the unary "-"
	value float64 // of "number"
	index int     // of "signal" in Expr.signals, of "pool" in Expr.pools
	name  string  // of the statistic of "pool"
	args  []*node
}

// SyntaxError says what is wrong with a bound or an expression, and where.
type SyntaxError struct {
	What   string // "bound" or "expression"
	Text   string // as a whole
	Column int    // byte in Text, from 1
	Cause  string
	Hint   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s %q: column %d: %s (hint: %s)", e.What, e.Text, e.Column, e.Cause, e.Hint)
}

// Offset is the place as a number of bytes before it.
func (e *SyntaxError) Offset() int { return e.Column - 1 }

// IsZero reports whether e is the zero Expr.
func (e Expr) IsZero() bool { return e.root == nil }

// IsCondition reports whether e is true or false instead of a number.
func (e Expr) IsCondition() bool { return e.condition }

// Signals returns the signals that e reads, in the order of their first use.
func (e Expr) Signals() []string { return slices.Clone(e.signals) }

// String gives the expression as it was written, without space around it.
func (e Expr) String() string { return e.source }

// MarshalText implements encoding.TextMarshaler.
func (e Expr) MarshalText() ([]byte, error) { return []byte(e.source), nil }

// UnmarshalText implements encoding.TextUnmarshaler by ParseExpr.
func (e *Expr) UnmarshalText(text []byte) (err error) {
	*e, err = ParseExpr(string(text))
	return err
}

// eval gives the expression's value for one member; NaN: none. A condition is 1 or 0. columns says where each of the
// expression's signals stands in row; pools has the values of the functions over the pool.
func (n *node) eval(row []float64, columns []int, pools []float64) float64 {
	switch n.op {
	case "number":
		return n.value
	case "signal":
		return row[columns[n.index]]
	case "pool":
		return pools[n.index]
	}
	x := n.args[0].eval(row, columns, pools)
	switch n.op {
	case "neg":
		return -x
	case "not":
		return 1 - x
	case "abs":
		return math.Abs(x)
	case "min", "max":
		for _, a := range n.args[1:] {
			y := a.eval(row, columns, pools)
			if n.op == "min" {
				x = math.Min(x, y)
			} else {
				x = math.Max(x, y)
			}
		}
		return x
	}
	y := n.args[1].eval(row, columns, pools)
	switch n.op {
	case "default":
		if math.IsNaN(x) {
			return y
		}
		return x
	case "and":
		if x == 0 || y == 0 {
			return 0
		}
		return x * y
	case "or":
		if x == 1 || y == 1 {
			return 1
		}
		return x + y
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	}
	if math.IsNaN(x) || math.IsNaN(y) {
		return math.NaN()
	}
	if compare(n.op, x, y) {
		return 1
	}
	return 0
}

// compare applies one of the operators of bounds and expressions.
func compare(op string, x, y float64) bool {
	switch op {
	case "<":
		return x < y
	case "<=":
		return x <= y
	case ">":
		return x > y
	case ">=":
		return x >= y
	}
	return true
}

// signalName reports whether s can be a signal's name in an expression.
func signalName(s string) bool {
	for i, c := range []byte(s) {
		if !letter(c) && (i == 0 || !digit(c)) {
			return false
		}
	}
	return s != "" && !slices.Contains(reserved, s)
}

const space = " \t\r\n"

var reserved = []string{"and", "or", "not"}

func letter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

// describe names what stands at a place, for errors.
func describe(token string) string {
	if token == "" {
		return "the end"
	}
	return fmt.Sprintf("%q", strings.TrimRight(token, space))
}

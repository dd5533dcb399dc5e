// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	exprHint = `as in "latency * queue" or "load < 0.8 and errors < 2 * mean(errors)"`
	// maxExpr and maxDepth bound what one expression costs at each evaluation.
	maxExpr  = 4096
	maxDepth = 64
)

// ParseExpr reads an expression. Its error is a *SyntaxError.
func ParseExpr(s string) (Expr, error) {
	p := exprParser{text: s, e: Expr{source: strings.TrimSpace(s)}}
	if len(s) > maxExpr {
		return Expr{}, p.error(maxExpr, fmt.Sprintf("an expression of more than %d bytes", maxExpr), "fewer or shorter names, or PromQL")
	}
	p.next()
	x := p.or()
	if p.err == nil && p.token != "" {
		p.fail(fmt.Sprintf("%s does not belong here", describe(p.token)), exprHint)
	}
	if p.err != nil {
		return Expr{}, p.err
	}
	if len(p.e.signals) == 0 {
		return Expr{}, p.error(0, "no signal is read, so that every member is alike", exprHint)
	}
	p.e.root, p.e.condition = x.node, x.condition
	return p.e, nil
}

// exprParser descends through the grammar. After the first error every token is the end.
type exprParser struct {
	text  string
	at    int    // of the token
	token string // empty: the end
	depth int
	e     Expr
	err   *SyntaxError
}

// typed is a node with its type.
type typed struct {
	*node
	condition bool
	at        int // where it begins
}

func (p *exprParser) error(at int, cause, hint string) *SyntaxError {
	return &SyntaxError{What: "expression", Text: p.text, Column: at + 1, Cause: cause, Hint: hint}
}

// fail notes the first error, at the token.
func (p *exprParser) fail(cause, hint string) { p.failAt(p.at, cause, hint) }

func (p *exprParser) failAt(at int, cause, hint string) {
	if p.err == nil {
		p.err = p.error(at, cause, hint)
	}
	p.at, p.token = len(p.text), ""
}

// next moves on to the next token.
func (p *exprParser) next() {
	rest := p.text[p.at+len(p.token):]
	trimmed := strings.TrimLeft(rest, space)
	p.at = len(p.text) - len(trimmed)
	if trimmed == "" {
		p.token = ""
		return
	}
	end := 1
	switch c := trimmed[0]; {
	case letter(c):
		for end < len(trimmed) && (letter(trimmed[end]) || digit(trimmed[end])) {
			end++
		}
	case digit(c) || c == '.':
		end = numberEnd(trimmed)
	case (c == '<' || c == '>') && strings.HasPrefix(trimmed[1:], "="):
		end = 2
	case !strings.ContainsRune("<>+-*/(),", rune(c)):
		p.token = ""
		hint := exprHint
		switch c {
		case '&', '|', '!':
			hint = "the words are and, or, not"
		case '=':
			hint = "values are compared with <, <=, >, >="
		case '%':
			hint = "25 % is 0.25"
		}
		p.fail(fmt.Sprintf("%q is no part of an expression", []rune(trimmed)[0]), hint)
		return
	}
	p.token = trimmed[:end]
}

// numberEnd is where a number ends, letters that stand right behind it included, so that "5s" is one wrong token.
func numberEnd(s string) int {
	end := 0
	for end < len(s) {
		c := s[end]
		sign := (c == '+' || c == '-') && end > 0 && s[end-1]|0x20 == 'e' && !strings.HasPrefix(s, "0x")
		if !digit(c) && c != '.' && !letter(c) && !sign {
			break
		}
		end++
	}
	return end
}

// accept moves past the token if it is one of those, and returns it.
func (p *exprParser) accept(tokens ...string) string {
	if p.token == "" || !slices.Contains(tokens, p.token) {
		return ""
	}
	t := p.token
	p.next()
	return t
}

func (p *exprParser) or() typed  { return p.logic("or", p.and) }
func (p *exprParser) and() typed { return p.logic("and", p.not) }

// logic reads operands with one logical operator between them.
func (p *exprParser) logic(op string, operand func() typed) typed {
	x := operand()
	for p.accept(op) != "" {
		y := operand()
		p.want(x, true, op)
		p.want(y, true, op)
		x = typed{&node{op: op, args: []*node{x.node, y.node}}, true, x.at}
	}
	return x
}

func (p *exprParser) not() typed {
	at := p.at
	if p.token == "not" && p.enter() {
		p.next()
		x := p.not()
		p.depth--
		p.want(x, true, "not")
		return typed{&node{op: "not", args: []*node{x.node}}, true, at}
	}
	return p.comparison()
}

func (p *exprParser) comparison() typed {
	x := p.sum()
	op := p.accept("<", "<=", ">", ">=")
	if op == "" {
		return x
	}
	y := p.sum()
	p.want(x, false, op)
	p.want(y, false, op)
	if slices.Contains([]string{"<", "<=", ">", ">="}, p.token) {
		p.fail("comparisons do not chain", `join two of them with "and"`)
	}
	return typed{&node{op: op, args: []*node{x.node, y.node}}, true, x.at}
}

func (p *exprParser) sum() typed  { return p.arithmetic(p.term, "+", "-") }
func (p *exprParser) term() typed { return p.arithmetic(p.factor, "*", "/") }

func (p *exprParser) arithmetic(operand func() typed, ops ...string) typed {
	x := operand()
	for op := p.accept(ops...); op != ""; op = p.accept(ops...) {
		y := operand()
		p.want(x, false, op)
		p.want(y, false, op)
		x = typed{&node{op: op, args: []*node{x.node, y.node}}, false, x.at}
	}
	return x
}

// want checks the type of an operand.
func (p *exprParser) want(x typed, condition bool, op string) {
	switch {
	case p.err != nil || x.condition == condition:
	case condition:
		p.failAt(x.at, fmt.Sprintf("%q needs conditions, and this is a number", op), `compare it, as in "load < 0.8"`)
	default:
		p.failAt(x.at, fmt.Sprintf("%q needs numbers, and this is a condition", op), exprHint)
	}
}

// enter goes one level down, if there is one left.
func (p *exprParser) enter() bool {
	if p.depth++; p.depth > maxDepth {
		p.fail(fmt.Sprintf("more than %d levels of brackets", maxDepth), "simplify it, or calculate in PromQL")
		return false
	}
	return true
}

func (p *exprParser) factor() typed {
	at, token := p.at, p.token
	switch {
	case token == "":
		p.fail("a number, a signal or a function is missing at the end", exprHint)
	case digit(token[0]) || token[0] == '.':
		value, err := strconv.ParseFloat(token, 64)
		if err != nil || math.IsInf(value, 0) || strings.ContainsAny(token, "xX") {
			p.fail(fmt.Sprintf("%q is no number", token), "a decimal number without a unit, such as 0.8 or 1e-3")
			break
		}
		p.next()
		return typed{&node{op: "number", value: value}, false, at}
	case signalName(token):
		p.next()
		if p.token == "(" {
			return p.call(at, token)
		}
		return typed{p.signal(token), false, at}
	case token == "-" && p.enter():
		p.next()
		x := p.factor()
		p.depth--
		p.want(x, false, "-")
		return typed{&node{op: "neg", args: []*node{x.node}}, false, at}
	case token == "(" && p.enter():
		p.next()
		x := p.or()
		p.depth--
		p.closing()
		return typed{x.node, x.condition, at}
	default:
		p.fail(fmt.Sprintf("a number, a signal or a function is missing before %s", describe(token)), exprHint)
	}
	return typed{&node{op: "number"}, false, at}
}

func (p *exprParser) closing() {
	if p.err == nil && p.accept(")") == "" {
		p.fail(fmt.Sprintf("\")\" is missing before %s", describe(p.token)), "each bracket that opens must close")
	}
}

func (p *exprParser) signal(name string) *node {
	i := slices.Index(p.e.signals, name)
	if i < 0 {
		i = len(p.e.signals)
		p.e.signals = append(p.e.signals, name)
	}
	return &node{op: "signal", index: i}
}

// call reads a function's arguments; the token is the bracket.
func (p *exprParser) call(at int, name string) typed {
	least, most := 1, 1
	switch {
	case name == "min" || name == "max":
		least, most = 2, math.MaxInt
	case name == "default":
		least, most = 2, 2
	case name != "abs" && !knownStatistic(name):
		p.failAt(at, fmt.Sprintf("%q is no function", name), "mean, median, stddev, mad, p0 to p100, abs, min, max, default")
	}
	if !p.enter() {
		return typed{&node{op: "number"}, false, at}
	}
	p.next()
	var args []*node
	for {
		x := p.or()
		p.want(x, false, name)
		args = append(args, x.node)
		if p.accept(",") == "" {
			break
		}
	}
	p.depth--
	p.closing()
	if p.err == nil && (len(args) < least || len(args) > most) {
		p.failAt(at, fmt.Sprintf("%s has %d arguments", name, len(args)), "min and max take two or more, default two, the others one")
	}
	if knownStatistic(name) {
		p.e.pools = append(p.e.pools, &node{op: "pool", name: name, index: len(p.e.pools), args: args})
		return typed{p.e.pools[len(p.e.pools)-1], false, at}
	}
	return typed{&node{op: name, args: args}, false, at}
}

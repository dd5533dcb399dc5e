// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is a contradiction in a policy.
type Problem struct {
	Path string // of the key in a policy document, such as "rules[0].readmit"
	Text string // what is wrong
	Hint string // how to mend it
}

func (p Problem) Error() string { return fmt.Sprintf("%s: %s (hint: %s)", p.Path, p.Text, p.Hint) }

// Check returns everything that is wrong with p, where signals are the names that rules may use.
func (p *Policy) Check(signals []string) []Problem {
	c := check{signals: signals}
	for i := range p.Rules {
		c.rule(fmt.Sprintf("rules[%d]", i), &p.Rules[i])
	}
	c.guards("guards", &p.Guards)
	return c.problems
}

type check struct {
	signals  []string
	problems []Problem
}

func (c *check) add(path, text, hint string) {
	c.problems = append(c.problems, Problem{path, text, hint})
}

func (c *check) rule(path string, r *Rule) {
	if !slices.Contains(c.signals, r.Signal) {
		c.add(path+".signal", fmt.Sprintf("there is no signal %q", r.Signal), "one of "+strings.Join(c.signals, ", "))
	}
	if r.Keep.IsZero() {
		if !r.Readmit.IsZero() {
			c.add(path+".readmit", "readmit is set and keep is not", "readmit is the way back after keep put a member out")
		}
		return
	}
	if !r.Readmit.IsZero() {
		keep, keepFixed := r.Keep.fixed()
		back, backFixed := r.Readmit.fixed()
		switch {
		case r.Keep.upper() != r.Readmit.upper():
			c.add(path+".readmit", fmt.Sprintf("keep %q and readmit %q bound the value from opposite sides", r.Keep, r.Readmit), "both with < or both with >")
		case keepFixed && backFixed && (r.Keep.upper() && back > keep || !r.Keep.upper() && back < keep):
			c.add(path+".readmit", fmt.Sprintf("readmit %q is looser than keep %q, so that a member would come back only to leave", r.Readmit, r.Keep), "make readmit the stricter one")
		}
	}
}

func (c *check) guards(path string, g *Guards) {
	switch g.NoData {
	case "", NoDataKeep, NoDataDrop, NoDataReadiness:
	default:
		c.add(path+".noData", fmt.Sprintf("no-data %q is unknown", g.NoData), "keep, drop or readiness")
	}
	if g.MinMembers < 0 {
		c.add(path+".minMembers", fmt.Sprintf("minimum of members %d is negative", g.MinMembers), "1 or more")
	}
	if g.Hold < 0 {
		c.add(path+".hold", fmt.Sprintf("hold %v is negative", g.Hold), "such as 30s, or 0s for none")
	}
	if !(g.MaxStep >= 0 && g.MaxStep <= 1) {
		c.add(path+".maxStep", fmt.Sprintf("largest step %g is not a share", g.MaxStep), "0.25 or 25%")
	}
}

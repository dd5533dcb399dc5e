// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

//go:embed answers.py
var answersProgram string

// watching is what answers.py is asked.
type watching struct {
	Name    string   `json:"name"`
	Servers []string `json:"servers"`
	EveryNs int64    `json:"every_ns"`
	UntilNs int64    `json:"until_ns"`
}

// answersEvery is the time between two questions to one server: to it answers' instants are exact.
const answersEvery = 100 * time.Millisecond

// ownResolver is the recursive resolver of the client node that asks.
const ownResolver = "::1"

// span is a stretch of time in which a server's answers were equal.
type span struct {
	Client  string `json:"-"` // node that asked
	Server  string `json:"server"`
	FromNs  int64  `json:"from_ns"`  // the first reply came
	UntilNs int64  `json:"until_ns"` // the last reply came
	Content any    `json:"content"`  // sorted addresses, or what came in their place
}

// addresses are those that the answers held; none when there were no answers.
func (s *span) addresses() []netip.Addr {
	var list []netip.Addr
	texts, _ := s.Content.([]any)
	for _, t := range texts {
		if a, err := netip.ParseAddr(fmt.Sprint(t)); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// holds says whether an answer of the span held one of the members.
func (s *span) holds(members []netip.Prefix) bool {
	return slices.ContainsFunc(s.addresses(), func(a netip.Addr) bool {
		return slices.ContainsFunc(members, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// watchAnswers asks every worker's DNS server, and the client's own resolver, for the service's name until the instant. One
// client asks the servers for all: they are not to notice that they are watched.
func (t *trial) watchAnswers(ctx context.Context, until time.Time) ([]span, error) {
	var (
		all   group
		spans = make([][]span, len(t.clients()))
	)
	for i, c := range t.clients() {
		w := watching{Name: t.system.Host(t.Inventory), Servers: []string{ownResolver}, EveryNs: int64(answersEvery), UntilNs: until.UnixNano()}
		if i == 0 {
			for _, n := range t.Inventory.Group(inventory.Worker) {
				w.Servers = append(w.Servers, n.Address.String())
			}
		}
		all.do(func() error {
			asked, err := json.Marshal(w)
			if err != nil {
				return fmt.Errorf("encoding what is watched: %w", err)
			}
			out, err := t.Nodes.Shell(ctx, c.Name, "python3 - "+kubectl.Quote(string(asked)), strings.NewReader(answersProgram))
			if err != nil {
				return fmt.Errorf("watching answers from %s: %w", c.Name, err)
			}
			spans[i], err = parseSpans(string(out), c.Name)
			return err
		})
	}
	err := all.wait()
	return slices.Concat(spans...), err
}

// told returns the addresses that the first client's resolver gives.
func (t *trial) told(ctx context.Context) ([]netip.Addr, error) {
	client := t.clients()[0].Name
	out, err := t.Nodes.Shell(ctx, client, "getent ahostsv6 "+kubectl.Quote(t.system.Host(t.Inventory)), nil)
	if err != nil {
		return nil, fmt.Errorf("asking what %s is told: %w", client, err)
	}
	var list []netip.Addr
	for line := range strings.Lines(string(out)) {
		text, _, _ := strings.Cut(line, " ")
		if a, err := netip.ParseAddr(text); err == nil && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list, nil
}

func parseSpans(out, client string) ([]span, error) {
	var spans []span
	for line := range strings.Lines(out) {
		s := span{Client: client}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			return spans, fmt.Errorf("reading what %s was answered: %w", client, err)
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// event is the span's begin.
func (s *span) event() results.Event {
	detail := map[string]string{"until_ns": fmt.Sprint(s.UntilNs)}
	name := fmt.Sprint(s.Content)
	if list, ok := s.Content.([]any); ok {
		name, detail["addresses"] = "addresses", strings.Trim(fmt.Sprint(list), "[]")
	}
	return results.Event{UnixNs: s.FromNs, Kind: results.EventAnswer, Name: name, Node: s.Client, Target: s.Server, Detail: detail}
}

// answerMeasures looks at the servers and at the resolvers that answered with members before the fault. It tells how long
// after the fault's begin it took until none answered with a member any more (gone), and after its end until all had answered
// with one again (back, if they have). Where some still held members when the fault ended, how many is told in place of both.
func answerMeasures(spans []span, members []netip.Prefix, begin, end int64) map[string]float64 {
	measures := map[string]float64{}
	for who, own := range map[string]bool{"servers": false, "resolvers": true} {
		asked := map[string][]span{}
		for _, s := range spans {
			if (s.Server == ownResolver) == own {
				asked[s.Client+" "+s.Server] = append(asked[s.Client+" "+s.Server], s)
			}
		}
		var holding, missing int
		var gone, back int64
		maps.DeleteFunc(asked, func(_ string, list []span) bool {
			return !slices.ContainsFunc(list, func(s span) bool { return s.FromNs < begin && s.holds(members) })
		})
		for _, list := range asked {
			last, again := lastHeld(list, members, begin, end)
			gone = max(gone, last-begin)
			if last >= end {
				holding++
			}
			back = max(back, again-end)
			if again == 0 {
				missing++
			}
		}
		switch {
		case len(asked) == 0:
		case holding > 0:
			measures["still_holding_"+who] = float64(holding)
		default:
			measures["gone_"+who+"_s"] = float64(gone) / 1e9
			if missing == 0 {
				measures["back_"+who+"_s"] = float64(back) / 1e9
			}
		}
	}
	return measures
}

// lastHeld returns the instant of the last reply of one server that held a member, of those before members came back, and
// that of the first reply after the fault's end that does: zero for none.
func lastHeld(spans []span, members []netip.Prefix, begin, end int64) (last, again int64) {
	last = begin
	for _, s := range spans {
		switch {
		case s.UntilNs < begin || !s.holds(members):
		case s.FromNs < end:
			last = max(last, s.UntilNs)
		case again == 0 || s.FromNs < again:
			again = s.FromNs
		}
	}
	return last, again
}

// errorMeasures tells what clients saw of the fault, and what they saw of its end: how many requests failed that were due
// while it held, and from its end on, and how long after each of the two instants the last failure was seen.
func errorMeasures(failures []stats.Failure, begin, end int64) map[string]float64 {
	var fault, back stats.Outage
	for _, f := range failures {
		if f.IntendedNs < end {
			fault.Add(begin, f.IntendedNs, f.TotalNs)
		} else {
			back.Add(end, f.IntendedNs, f.TotalNs)
		}
	}
	measures := map[string]float64{"failed_fault_requests": float64(fault.Failed), "failed_return_requests": float64(back.Failed)}
	if fault.Failed > 0 {
		measures["errors_fault_s"] = float64(fault.LastNs-begin) / 1e9
	}
	if back.Failed > 0 {
		measures["errors_return_s"] = float64(back.LastNs-end) / 1e9
	}
	return measures
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/policy"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/replay"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func steerCommand(s streams) *cobra.Command {
	var file, name, output string
	var recordings []string
	setup := replay.Setup{}
	c := &cobra.Command{
		Use:   "steer --policy FILE --samples [SIGNAL=]FILE...",
		Short: "Try a SteeringPolicy on recorded samples: what would it have decided, and how often?",
		Long: `Try a SteeringPolicy on recorded samples: what would it have decided, and how often?

Samples are CSV with the columns time,signal,pod,value (and namespace), or what Prometheus answers to
/api/v1/query_range; such a file is of one signal: SIGNAL=FILE, which can be left out
where the policy has but one. Times are RFC 3339 or seconds since 1970; health checks
are recorded as 1 and 0. A pod counts as ready from its first sample until its last one
is stale. The decisions are made by the code that also makes them live. No cluster is
asked.`,
		Example: `  dnsingress steer --policy latency.yaml --samples yesterday.csv
  curl -sG http://prometheus:9090/api/v1/query_range -d step=5 -d start=$A -d end=$B \
    --data-urlencode query@load.promql > load.json
  dnsingress steer --policy load.yaml --samples load=load.json -o json`,
		Args: cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if file == "" || len(recordings) == 0 {
				return cli.Misuse("steer needs --policy and --samples (hint: dnsingress steer --policy FILE --samples FILE)")
			}
			if setup.Interval < time.Second || setup.Staleness < setup.Interval {
				return cli.Misuse("--interval %v and --staleness %v do not fit (hint: an interval of 1s at least, and a staleness no shorter)", setup.Interval, setup.Staleness)
			}
			p, err := choosePolicy(s, file, name)
			if err != nil {
				return err
			}
			setup.Namespace = p.Namespace
			samples, err := readSamples(recordings, &p.Policy)
			if err != nil {
				return err
			}
			outcome, err := replay.Run(&p.Policy, samples, setup)
			if err != nil {
				return cli.Misuse("%w", err)
			}
			return printOutcome(s.out, output, outcome)
		},
	}
	c.Flags().StringVar(&file, "policy", "", "`FILE` with the SteeringPolicy, - for standard input")
	c.Flags().StringVar(&name, "name", "", "`NAME` of the policy, where the file has several")
	c.Flags().StringArrayVar(&recordings, "samples", nil, "`FILE` with samples, or SIGNAL=FILE (repeatable)")
	c.Flags().DurationVar(&setup.Interval, "interval", 5*time.Second, "between evaluations of signals that set none")
	c.Flags().DurationVar(&setup.Staleness, "staleness", time.Minute, "how long the last values count, of signals that set none")
	c.Flags().DurationVar(&setup.TTL, "ttl", 5*time.Second, "of answers, where the policy sets none")
	c.Flags().DurationVar(&setup.NegativeTTL, "negative-ttl", 5*time.Second, "of empty answers, where the policy sets none")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

// choosePolicy reads the policy of that name, or the only one.
func choosePolicy(s streams, file, name string) (policy.Policy, error) {
	policies, err := readPolicies(s, file)
	if err != nil {
		return policy.Policy{}, err
	}
	var names []string
	for _, p := range policies {
		if p.Name == name || name == "" && len(policies) == 1 {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if name == "" {
		return policy.Policy{}, cli.Misuse("%s has %d policies (hint: --name %s)", file, len(policies), strings.Join(names, " or "))
	}
	return policy.Policy{}, cli.Misuse("%s has no policy %q (hint: --name %s)", file, name, strings.Join(names, " or "))
}

// readSamples reads all files, and says what is wrong with any.
func readSamples(recordings []string, p *model.Policy) ([]replay.Sample, error) {
	var all []replay.Sample
	var errs []error
	for _, r := range recordings {
		signal, path, named := strings.Cut(r, "=")
		if !named || strings.ContainsAny(signal, "/.") {
			signal, path = "", r
		}
		data, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading samples: %w", err))
			continue
		}
		samples, err := replay.Read(path, data, signal, matchOf(p, signal))
		if err != nil {
			errs = append(errs, err)
		}
		all = append(all, samples...)
	}
	if len(errs) > 0 {
		return nil, cli.Misuse("%w", errors.Join(errs...))
	}
	return all, nil
}

// matchOf is how series of that signal belong to pods; where the policy has but one signal, it need not be named.
func matchOf(p *model.Policy, signal string) model.Match {
	for _, s := range p.Signals {
		if s.Name == signal || signal == "" && len(p.Signals) == 1 {
			return s.Match
		}
	}
	return model.Match{}
}

func printOutcome(w io.Writer, output string, o replay.Outcome) error {
	if output == "json" {
		return printJSON(w, jsonOutcome(o))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tIN\tTTL\tTTL RULE\tCHANGES")
	for _, c := range o.Changes {
		in := fmt.Sprintf("%d/%d", c.In, c.Ready)
		if c.FailOpen {
			in += " fail open"
		}
		fmt.Fprintf(t, "%s\t%s\t%v\t%s\t%s\n", c.At.UTC().Format(time.RFC3339), in, c.TTL, c.TTLRule, orDash(describeMoves(c.Moves)))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MEMBER\tIN\tWEIGHT\tLEAVES\tLONGEST OUT")
	for _, m := range o.Members {
		fmt.Fprintf(t, "%s\t%.1f%%\t%.3f\t%d\t%v\n", m.Name, 100*m.Share, m.Weight, m.Leaves, m.LongestOut)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	_, err := fmt.Fprintf(w, "\n%d decisions over %v: %d moves after the first, %.1f an hour; fail open for %v; TTL %v to %v, mean %v\n",
		o.Decisions, o.To.Sub(o.From), o.Moves, churn(o), o.FailOpen, o.LeastTTL, o.MostTTL, o.MeanTTL.Round(100*time.Millisecond))
	return err
}

// churn is the moves an hour.
func churn(o replay.Outcome) float64 {
	if hours := o.To.Sub(o.From).Hours(); hours > 0 {
		return float64(o.Moves) / hours
	}
	return 0
}

// mostMoves bounds what one line of the table tells.
const mostMoves = 6

func describeMoves(moves []replay.Move) string {
	var out []string
	for i, m := range moves {
		if i == mostMoves {
			out = append(out, fmt.Sprintf("and %d more", len(moves)-i))
			break
		}
		text := "-" + m.Member
		if m.In {
			text = "+" + m.Member
		}
		text += " " + m.Reason
		if m.Rule != "" {
			text += " " + m.Rule
		}
		if !math.IsNaN(m.Value) {
			text += " " + strconv.FormatFloat(m.Value, 'g', 4, 64)
		}
		if !math.IsNaN(m.Limit) && !math.IsNaN(m.Value) {
			text += " (limit " + strconv.FormatFloat(m.Limit, 'g', 4, 64) + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

type (
	outcomeJSON struct {
		From      time.Time    `json:"from"`
		To        time.Time    `json:"to"`
		Decisions int          `json:"decisions"`
		Moves     int          `json:"moves"`
		Churn     float64      `json:"moves_per_hour"`
		FailOpen  float64      `json:"fail_open_seconds"`
		LeastTTL  float64      `json:"least_ttl_seconds"`
		MostTTL   float64      `json:"most_ttl_seconds"`
		MeanTTL   float64      `json:"mean_ttl_seconds"`
		Changes   []changeJSON `json:"changes"`
		Members   []memberJSON `json:"members"`
	}
	changeJSON struct {
		At       time.Time  `json:"at"`
		In       int        `json:"in"`
		Ready    int        `json:"ready"`
		FailOpen bool       `json:"fail_open"`
		TTL      float64    `json:"ttl_seconds"`
		TTLRule  string     `json:"ttl_rule"`
		Moves    []moveJSON `json:"moves"`
	}
	moveJSON struct {
		Member string       `json:"member"`
		In     bool         `json:"in"`
		Reason string       `json:"reason"`
		Rule   string       `json:"rule,omitempty"`
		Value  *pool.Number `json:"value,omitempty"`
		Limit  *pool.Number `json:"limit,omitempty"`
	}
	memberJSON struct {
		Name       string  `json:"name"`
		Share      float64 `json:"in_share"`
		Weight     float64 `json:"mean_weight"`
		Leaves     int     `json:"leaves"`
		LongestOut float64 `json:"longest_out_seconds"`
	}
)

func jsonOutcome(o replay.Outcome) outcomeJSON {
	out := outcomeJSON{
		From: o.From, To: o.To, Decisions: o.Decisions, Moves: o.Moves, Churn: churn(o), FailOpen: o.FailOpen.Seconds(),
		LeastTTL: o.LeastTTL.Seconds(), MostTTL: o.MostTTL.Seconds(), MeanTTL: o.MeanTTL.Seconds(), Changes: []changeJSON{}, Members: []memberJSON{},
	}
	for _, c := range o.Changes {
		x := changeJSON{c.At, c.In, c.Ready, c.FailOpen, c.TTL.Seconds(), c.TTLRule, []moveJSON{}}
		for _, m := range c.Moves {
			x.Moves = append(x.Moves, moveJSON{m.Member, m.In, m.Reason, m.Rule, numberOf(m.Value), numberOf(m.Limit)})
		}
		out.Changes = append(out.Changes, x)
	}
	for _, m := range o.Members {
		out.Members = append(out.Members, memberJSON{m.Name, m.Share, m.Weight, m.Leaves, m.LongestOut.Seconds()})
	}
	return out
}

// numberOf is nil for NaN.
func numberOf(f float64) *pool.Number {
	if math.IsNaN(f) {
		return nil
	}
	n := pool.Number(f)
	return &n
}

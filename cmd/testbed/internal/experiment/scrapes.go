// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// scrapes counts what Prometheus got and what it should have.
type scrapes struct {
	expected, missing int
	targets           []string // of which something is missing
}

func (s scrapes) share() float64 {
	if s.expected == 0 {
		return 0
	}
	return float64(s.missing) / float64(s.expected)
}

// scraped asks every cluster's Prometheus whether it missed anything in the window. Where something is broken or replaced on
// purpose, pods and struck nodes are not expected to answer.
func (t *trial) scraped(ctx context.Context) error {
	from, to := time.Unix(0, t.out.WindowStartNs), time.Unix(0, t.out.WindowEndNs)
	for _, cluster := range t.Inventory.Clusters() {
		node := cluster.Prometheus()
		if t.strikes(node.Name) {
			continue
		}
		list, err := t.targetsOf(ctx, node)
		if err == nil {
			list = slices.DeleteFunc(list, func(target scrapeTarget) bool { return !t.expects(target) })
			var seen map[string][]scrape
			if seen, err = t.scrapesOf(ctx, node, from, to); err == nil {
				t.facts.scrapes = t.facts.scrapes.add(countScrapes(list, seen, from, to))
				continue
			}
		}
		t.facts.missing = append(t.facts.missing, fmt.Sprintf("Prometheus on %s: %v", node.Name, err))
	}
	return ctx.Err()
}

func (s scrapes) add(o scrapes) scrapes {
	return scrapes{s.expected + o.expected, s.missing + o.missing, append(slices.Clone(s.targets), o.targets...)}
}

// expects says whether a target should have answered all the time.
func (t *trial) expects(target scrapeTarget) bool {
	if t.fault == nil && len(t.struck) == 0 && t.cell.Trials.Churn == nil {
		return true
	}
	at, err := netip.ParseAddrPort(target.Labels.Instance)
	return err == nil && target.Labels.Job != "pods" && !slices.ContainsFunc(t.Inventory.Nodes, func(n inventory.Node) bool {
		return n.Address == at.Addr() && t.strikes(n.Name)
	})
}

// scrapeTarget is one of Prometheus' active targets (its HTTP API, "Targets").
type scrapeTarget struct {
	Labels struct {
		Job      string `json:"job"`
		Instance string `json:"instance"`
	} `json:"labels"`
	Interval string `json:"scrapeInterval"`
}

func (t scrapeTarget) key() string { return t.Labels.Job + " " + t.Labels.Instance }

// scrape is one sample of the series up.
type scrape struct {
	at time.Time
	up bool
}

func (t *trial) targetsOf(ctx context.Context, node inventory.Node) ([]scrapeTarget, error) {
	var reply struct {
		Data struct {
			ActiveTargets []scrapeTarget `json:"activeTargets"`
		} `json:"data"`
	}
	if err := t.prometheus(ctx, node, "/api/v1/targets?state=active", &reply); err != nil {
		return nil, fmt.Errorf("listing targets: %w", err)
	}
	return reply.Data.ActiveTargets, nil
}

// scrapesOf returns the raw samples of up in the window by target.
func (t *trial) scrapesOf(ctx context.Context, node inventory.Node, from, to time.Time) (map[string][]scrape, error) {
	var reply struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Values [][2]any          `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	q := url.Values{
		"query": {fmt.Sprintf("up[%dms]", max(to.Sub(from).Milliseconds(), 1))},
		"time":  {strconv.FormatFloat(float64(to.UnixMilli())/1000, 'f', 3, 64)},
	}
	if err := t.prometheus(ctx, node, "/api/v1/query?"+q.Encode(), &reply); err != nil {
		return nil, fmt.Errorf("asking for scrapes: %w", err)
	}
	seen := map[string][]scrape{}
	for _, r := range reply.Data.Result {
		key := r.Metric["job"] + " " + r.Metric["instance"]
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			seen[key] = append(seen[key], scrape{time.UnixMilli(int64(1000 * at)), v[1] == "1"})
		}
	}
	return seen, nil
}

// prometheus asks by HTTP from the node itself.
func (t *trial) prometheus(ctx context.Context, node inventory.Node, path string, reply any) error {
	at := "http://" + netip.AddrPortFrom(node.Address, 9090).String() + path
	line := "exec python3 -c 'import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1], timeout=10).read())' " + kubectl.Quote(at)
	out, err := t.Nodes.Shell(ctx, node.Name, line, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, reply)
}

// countScrapes counts, of each target, the scrapes that failed, and those that are missing between two that came, or after the last.
// Before the first that came there may have been no target yet; one of which nothing came at all missed everything.
func countScrapes(targets []scrapeTarget, seen map[string][]scrape, from, to time.Time) scrapes {
	var all scrapes
	for _, target := range targets {
		every, err := time.ParseDuration(target.Interval)
		if err != nil || every <= 0 || to.Sub(from) < 2*every {
			continue // a window that is shorter says nothing
		}
		list := seen[target.key()]
		expected := int(to.Sub(from) / every)
		missing := 0
		if len(list) == 0 {
			missing = expected
		}
		for i, s := range list {
			if !s.up {
				missing++
			}
			next := to
			if i+1 < len(list) {
				next = list[i+1].at
			}
			// A scrape may be late by half its interval.
			missing += max(int(float64(next.Sub(s.at))/float64(every)+0.5)-1, 0)
		}
		all.expected, all.missing = all.expected+expected, all.missing+min(missing, expected)
		if missing > 0 {
			all.targets = append(all.targets, fmt.Sprintf("%s (%d of %d)", target.key(), min(missing, expected), expected))
		}
	}
	return all
}

// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Unloop leaves out the CNAME records that lead round in a circle, and gives each circle as its names in order, the
// least first. What leads into a circle stays: it leads to a name that exists.
func Unloop(sets []model.RecordSet) (kept []model.RecordSet, loops [][]string) {
	targets := map[string][]string{}
	for _, s := range sets {
		if s.Type == dns.TypeCNAME {
			for _, r := range s.Records {
				targets[s.Name] = append(targets[s.Name], r.Data)
			}
		}
	}
	circle := circles(targets)
	if len(circle) == 0 {
		return sets, nil
	}
	for _, s := range sets {
		if s.Type == dns.TypeCNAME && circle[s.Name] != 0 {
			s.Records = slices.DeleteFunc(slices.Clone(s.Records), func(r model.Record) bool { return circle[r.Data] == circle[s.Name] })
			if len(s.Records) == 0 {
				continue
			}
		}
		kept = append(kept, s)
	}
	byCircle := map[int][]string{}
	for name, c := range circle {
		byCircle[c] = append(byCircle[c], name)
	}
	for _, names := range byCircle {
		loops = append(loops, walk(slices.Min(names), targets, circle))
	}
	slices.SortFunc(loops, slices.Compare)
	return kept, loops
}

// walk gives the names of a circle from one of them on, as far as they lead on to names not met before.
func walk(from string, targets map[string][]string, circle map[string]int) []string {
	path, met := []string{from}, map[string]bool{from: true}
	for {
		last := targets[path[len(path)-1]]
		i := slices.IndexFunc(last, func(t string) bool { return circle[t] == circle[from] && !met[t] })
		if i < 0 {
			return path
		}
		path, met[last[i]] = append(path, last[i]), true
	}
}

// circles numbers the names that lead back to themselves, those that lead to each other alike (Tarjan, Depth-first
// search and linear graph algorithms, 1972). It is written without recursion, because objects say how deep it goes.
func circles(targets map[string][]string) map[string]int {
	type frame struct {
		name string
		next int // of its targets
	}
	index, low := map[string]int{}, map[string]int{} // from 1
	on := map[string]bool{}
	var stack []string
	out := map[string]int{}
	for root := range targets {
		if index[root] != 0 {
			continue
		}
		enter := func(name string) frame {
			index[name] = len(index) + 1
			low[name] = index[name]
			stack, on[name] = append(stack, name), true
			return frame{name: name}
		}
		frames := []frame{enter(root)}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			if all := targets[f.name]; f.next < len(all) {
				t := all[f.next]
				f.next++
				switch {
				case index[t] == 0:
					frames = append(frames, enter(t))
				case on[t]:
					low[f.name] = min(low[f.name], index[t])
				}
				continue
			}
			name := f.name
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				over := frames[len(frames)-1].name
				low[over] = min(low[over], low[name])
			}
			if low[name] != index[name] {
				continue
			}
			at := len(stack) - 1
			for stack[at] != name {
				at--
			}
			component := stack[at:]
			stack = stack[:at]
			for _, n := range component {
				on[n] = false
				if len(component) > 1 || slices.Contains(targets[n], n) {
					out[n] = index[name]
				}
			}
		}
	}
	return out
}

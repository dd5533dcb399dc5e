// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// choose returns the nodes that words name, each once and in the order of the inventory: by their own name, or by a group, a
// role, a cluster, or "all".
func choose(inv *inventory.Inventory, words []string) ([]inventory.Node, error) {
	chosen := map[string]bool{}
	for _, list := range words {
		for word := range strings.SplitSeq(list, ",") {
			found := false
			for _, n := range inv.Nodes {
				if word == "all" || word == n.Name || n.In(word) || n.Runs(word) || word != "" && word == n.Cluster {
					chosen[n.Name], found = true, true
				}
			}
			if !found {
				return nil, cli.Misuse("no node, group, role or cluster is called %q (hint: %s; the nodes are in %s)", word, strings.Join(groups(inv), ", "), inv.Path)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(inv.Nodes), func(n inventory.Node) bool { return !chosen[n.Name] }), nil
}

// groups returns the words that stand for several nodes.
func groups(inv *inventory.Inventory) []string {
	words := []string{"all"}
	for _, n := range inv.Nodes {
		for _, g := range append(slices.Clone(n.Groups), n.Cluster) {
			if g != "" && !slices.Contains(words, g) {
				words = append(words, g)
			}
		}
	}
	return words
}

// names returns the nodes' names.
func names(nodes []inventory.Node) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = n.Name
	}
	return list
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// writeClients prints what clients did to get to their replies, where there is something to say.
func writeClients(w io.Writer, c record.Clients) {
	var parts []string
	for _, n := range []struct {
		count uint64
		what  string
	}{
		{c.Connections, "connections"},
		{c.DNSQueries, "DNS queries"},
		{c.DNSLate, "answered late"},
		{c.RetriesDenied, "retries denied"},
	} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.what))
		}
	}
	if len(c.Protocols) > 1 {
		for _, p := range slices.Sorted(maps.Keys(c.Protocols)) {
			parts = append(parts, fmt.Sprintf("%d over %s", c.Protocols[p], p))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "\nclients    %s\n", strings.Join(parts, ", "))
	}
	if len(c.ByRequest) > 0 {
		fmt.Fprintln(w, "\nrequests by name")
		for _, name := range slices.Sorted(maps.Keys(c.ByRequest)) {
			r := c.ByRequest[name]
			fmt.Fprintf(w, "  %-40s %8d  %s succeeded\n", name, r.Requests, percent(r.Succeeded, r.Requests))
		}
	}
}

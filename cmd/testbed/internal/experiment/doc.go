// SPDX-License-Identifier: Apache-2.0

// Package experiment executes scenarios: it puts one system after the other on a standing cluster,
// loads it from the client nodes, breaks it, reads what was used, judges each trial by the
// scenario's rules, and writes a run directory in the format of package results.
//
// A trial is a sequence around one instant: the load generators start at a time given in advance,
// and the window, its counters and the fault follow from it. Everything is on the nodes before.
package experiment

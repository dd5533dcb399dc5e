// SPDX-License-Identifier: Apache-2.0

// Package results is the one contract between testbed, loadgen and analyze:
// what a run leaves on disk. This comment is its specification, version 1.
//
// # Directory
//
//	results/<experiment>/<run-id>/
//	    manifest.json            what was run, on what, from which source (Manifest)
//	    scenario.yaml            the scenario, verbatim
//	    trials/<trial-id>/
//	        trial.json           factor levels and the measured window (Trial)
//	        verdict.json         whether the trial may be used, and if not why (Verdict)
//	        samples.parquet      one row an attempt of a request (Sample)
//	        histogram.hlog       HdrHistogram log of total_ns of successful requests in the window
//	        resources.parquet    what each component used in the window (Resource)
//	        lookups.parquet      over real resolvers: resolutions before the load, cold and warm (Sample)
//	        queries.parquet      over real resolvers: what each server of the delegation tree was asked (Query)
//	        accuracy.jsonl           of workload dns: how each change of a name came to each server (docs/load.md)
//	        accuracy-seconds.jsonl   of workload dns: what answers were worth, second by second (Accuracy)
//	        events.jsonl         faults, phases, pool changes (Event, one JSON object a line)
//	        logs/                what programs printed
//
// A run-id is the UTC start as 20060102T150405Z. A trial-id is
// "<index, three digits>-<system>-<kind>", in the order of execution.
//
// # Units
//
// Instants are UTC nanoseconds since the Unix epoch (suffix _ns, or _unix_ns
// in JSON), durations are integer nanoseconds (suffix _ns), sizes are bytes.
//
// # Reading
//
// Readers accept every SchemaVersion up to their own and refuse newer ones.
// Fields that a reader does not know are ignored; fields are never renamed or
// given another meaning within a version. testdata/v1 holds a complete run of
// version 1 that every later reader must read.
//
// # Samples
//
// A request is what the pacer asked for; an attempt is one try at it. Attempt 0
// is the first; a retry is a further row with the same client and seq. Latency is
// counted from the intended send (open loop, no coordinated omission). The
// phases dns, connect, tls and first_byte are durations of that phase alone and 0
// where it did not happen (a cached answer, a reused connection, plain HTTP).
// total_ns runs from the intended send to the last byte read, or to the error.
// backend came later within version 1: files without the column say nothing of who answered.
// So did protocol, request, dns_queries, dns_late_ns, connects and retry_denied: files without them
// say nothing of these. reused is true of an attempt that opened no connection; in HTTP/2 and HTTP/3,
// where several requests share one, its connect_ns is how long it waited for one that was being opened.
// Of a fan-out, a request is the delivery of an object to a subscriber (user is the subscriber, seq the
// object, request "object"), and error "lost" one that did not come; package fanout says the rest.
// seq is unique together with user there, and of a session in a mix its upper 16 bits count the steps.
//
// # Resources
//
// One row is one counter pair of one unit (a pod, a systemd unit, a host), read
// at the edges of the measured window. CPU times come from cgroup counters and,
// for the host, from /proc/stat. A host row is written once a kernel (twin nodes
// share one): component "host" holds busy, softirq and total CPU time. A link row is written once a node: what went over its
// interfaces but lo and those of its pods, and TCP connections that its own network namespace opened or accepted, among which those
// of pods in namespaces of their own are not. Packets, connections and energy_uj came later within version 1, and link rows with them:
// files without them say nothing of these.
package results

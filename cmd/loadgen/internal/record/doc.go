// SPDX-License-Identifier: Apache-2.0

// Package record is what a load generator writes down: every attempt into samples.parquet, the
// latency of every request that succeeded in the measured window into histogram.hlog, and its own
// honesty (lag, drops, CPU time) into generator.json, in the format of package results.
//
// Memory is bounded: rows wait in batches of a fixed number, and when the disk is slower than the
// load, the workers wait for it, which shows as requests in flight, then as drops, never as silence.
package record

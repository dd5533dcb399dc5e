// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dnsingress/dnsingress/internal/results"
)

// spoil HOW FILE rewrites a samples.parquet: with times that are negative or NaN, or without a column.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: spoil negative|nan|no-tls|no-total|none FILE")
	}
	path := ts.MkAbs(args[1])
	rows, err := parquet.ReadFile[results.Sample](path)
	ts.Check(err)
	switch args[0] {
	case "negative": // every tenth: a clock that was set back
		for i := range rows {
			if i%10 == 0 {
				rows[i].TotalNs = -rows[i].TotalNs
			}
		}
		ts.Check(parquet.WriteFile(path, rows))
	case "nan": // as programs write that turn a column with holes into floating point
		ts.Check(parquet.WriteFile(path, slices.Collect(func(yield func(floating) bool) {
			for i, s := range rows {
				f := floating{s.Client, s.Attempt, s.IntendedNs, s.SentNs, s.DNSNs, s.ConnectNs, s.TLSNs, s.FirstByteNs, float64(s.TotalNs), s.Error}
				if i%10 == 0 {
					f.TotalNs = math.NaN()
				}
				if !yield(f) {
					return
				}
			}
		})))
	case "no-tls":
		ts.Check(parquet.WriteFile(path, convert(rows, func(s results.Sample) (o struct {
			timed
			DNSNs   int64 `parquet:"dns_ns"`
			TotalNs int64 `parquet:"total_ns"`
		},
		) {
			o.timed, o.DNSNs, o.TotalNs = timedOf(s), s.DNSNs, s.TotalNs
			return o
		})))
	case "no-total":
		ts.Check(parquet.WriteFile(path, convert(rows, timedOf)))
	case "none":
		ts.Check(parquet.WriteFile(path, rows[:0]))
	default:
		ts.Fatalf("unknown way to spoil: %s", args[0])
	}
}

type floating struct {
	Client      string  `parquet:"client,dict"`
	Attempt     int32   `parquet:"attempt"`
	IntendedNs  int64   `parquet:"intended_ns"`
	SentNs      int64   `parquet:"sent_ns"`
	DNSNs       int64   `parquet:"dns_ns"`
	ConnectNs   int64   `parquet:"connect_ns"`
	TLSNs       int64   `parquet:"tls_ns"`
	FirstByteNs int64   `parquet:"first_byte_ns"`
	TotalNs     float64 `parquet:"total_ns"`
	Error       string  `parquet:"error,dict"`
}

// timed is a sample without the columns that are left out one by one.
type timed struct {
	Client      string `parquet:"client,dict"`
	Attempt     int32  `parquet:"attempt"`
	IntendedNs  int64  `parquet:"intended_ns"`
	SentNs      int64  `parquet:"sent_ns"`
	ConnectNs   int64  `parquet:"connect_ns"`
	FirstByteNs int64  `parquet:"first_byte_ns"`
	Error       string `parquet:"error,dict"`
}

func timedOf(s results.Sample) timed {
	return timed{s.Client, s.Attempt, s.IntendedNs, s.SentNs, s.ConnectNs, s.FirstByteNs, s.Error}
}

func convert[T any](rows []results.Sample, to func(results.Sample) T) []T {
	out := make([]T, len(rows))
	for i, s := range rows {
		out[i] = to(s)
	}
	return out
}

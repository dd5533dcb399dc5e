// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"testing"
)

// BenchmarkAnalyze is the whole of `analyze RUN` on the run of testdata/v1.
func BenchmarkAnalyze(b *testing.B) {
	out := b.TempDir()
	for b.Loop() {
		if err := analyze(b.Context(), options{out: out, output: "table"}, []string{v1}, io.Discard, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkLoad reads 100,000 names with one record each, in lines of the commonest shape and in others.
func BenchmarkLoad(b *testing.B) {
	const names = 100_000
	for _, c := range []struct{ shape, format string }{
		{"common", "svc-%07d.ns%03d 30 IN AAAA 2001:db8::%x:%x\n"},
		{"other", "svc-%07d.ns%03d 30 IN AAAA ( 2001:db8::%x:%x )\n"},
	} {
		b.Run(c.shape, func(b *testing.B) {
			var text bytes.Buffer
			text.WriteString("$ORIGIN bench.test.\n@ 30 IN SOA ns host 1 3600 600 86400 5\n@ 30 IN NS ns\n")
			for i := range names {
				fmt.Fprintf(&text, c.format, i, i%997, i>>16, i&0xffff)
			}
			path := filepath.Join(b.TempDir(), "zone")
			if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(text.Len()))
			for b.Loop() {
				z, _, err := Load(path, "")
				if err != nil || z.Len() < names {
					b.Fatal(z, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/names, "ns/name")
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package query

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// A star stands for a random label, a new one each time and the same for each run of a seed.
func TestFreshLabels(t *testing.T) {
	b := book(t, InOrder, "*.apps.test", `\*.apps.test`)
	seen := map[string]bool{}
	for seq := range uint64(1000) {
		for n := range 2 {
			wire, asks := b.write(nil, n, seq, 7)
			m := new(dns.Msg)
			if err := m.Unpack(wire); err != nil || m.Id != 7 || len(m.Question) != 1 {
				t.Fatal(err, m)
			}
			name := m.Question[0].Name
			again, _ := b.write(nil, n, seq, 7)
			if !slices.Equal(wire, again) || !slices.Equal(asks, wire[headerLen:][:len(asks)]) {
				t.Fatalf("%q is asked otherwise the second time", name)
			}
			if n == 1 {
				if name != "*.apps.test." {
					t.Fatalf("an escaped star asks for %q", name)
				}
				continue
			}
			if seen[name] || !strings.HasSuffix(name, ".apps.test.") || dns.CountLabel(name) != 3 {
				t.Fatalf("query %d asks for %q", seq, name)
			}
			seen[name] = true
		}
	}
}

// The shares of a Zipf distribution are those of its definition.
func TestPick(t *testing.T) {
	const n, draws = 10, 200_000
	for _, tt := range []struct {
		pick     string
		exponent float64
	}{{"uniform", 0}, {"order", 0}, {"zipf:1", 1}, {"zipf:0.8", 0.8}, {"zipf:2", 2}} {
		p, err := ParsePick(tt.pick)
		if err != nil || p.String() != tt.pick {
			t.Fatal(p, err)
		}
		draw := p.over(n, 42)
		var counts [n]float64
		for seq := range uint64(draws) {
			counts[draw(seq)]++
		}
		sum := 0.0
		for k := range n {
			sum += math.Pow(float64(k+1), -tt.exponent)
		}
		for k, c := range counts {
			want := math.Pow(float64(k+1), -tt.exponent) / sum
			if got := c / draws; math.Abs(got-want) > 5*math.Sqrt(want/draws) {
				t.Errorf("%s: question %d is drawn with %.4f, want %.4f", tt.pick, k, got, want)
			}
		}
	}
	for _, bad := range []string{"", "zipf", "zipf:x", "zipf:-1", "zipf:NaN", "uniform:1", "even"} {
		if p, err := ParsePick(bad); err == nil || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%q gave %v, %v", bad, p, err)
		}
	}
}

func TestReadList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("# names\nwww.example.test A\n\n  b.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadList(path, dns.TypeAAAA)
	if d := cmp.Diff([]Question{{"www.example.test", dns.TypeA}, {"b.test", dns.TypeAAAA}}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if err := os.WriteFile(path, []byte("a..b\nb.test NONE\nc.test A A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ReadList(path, dns.TypeAAAA)
	for _, want := range []string{path + `:1:1: "a..b" is no domain name`, path + ":2:1: ", path + ":3:1: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadList(path, dns.TypeA); err == nil || !strings.Contains(err.Error(), "hint") {
		t.Errorf("an empty list: %v", err)
	}
}

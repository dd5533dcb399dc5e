// SPDX-License-Identifier: Apache-2.0

package location

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// patience is how long a test waits for what must come. It is no measure of speed.
const patience = 30 * time.Second

func text(s string) mmdbtype.String { return mmdbtype.String(s) }

// place is data as MaxMind has it, with what nobody reads beside it.
func place(continent, country, part string) mmdbtype.Map {
	m := mmdbtype.Map{"registered_country": mmdbtype.Map{"iso_code": text("US")}, "location": mmdbtype.Map{"accuracy_radius": mmdbtype.Uint16(100)}}
	if continent != "" {
		m["continent"] = mmdbtype.Map{"code": text(continent), "names": mmdbtype.Map{"en": text("a continent")}}
	}
	if country != "" {
		m["country"] = mmdbtype.Map{"iso_code": text(country), "geoname_id": mmdbtype.Uint32(7)}
	}
	if part != "" {
		m["subdivisions"] = mmdbtype.Slice{mmdbtype.Map{"iso_code": text(part)}, mmdbtype.Map{"iso_code": text("X")}}
	}
	return m
}

// database writes one of a type with networks.
func database(t testing.TB, path, kind string, version int, networks map[string]mmdbtype.DataType) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, IPVersion: version, RecordSize: 28, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	// The short ones first: those within replace a part.
	for _, network := range slices.SortedFunc(maps.Keys(networks), func(a, b string) int {
		return netip.MustParsePrefix(a).Bits() - netip.MustParsePrefix(b).Bits()
	}) {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, networks[network]); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// city is a database as GeoLite2-City.
func city(t testing.TB, path string) {
	database(t, path, "GeoLite2-City", 6, map[string]mmdbtype.DataType{
		"192.0.2.0/24":       place("EU", "IE", "L"),
		"192.0.2.128/25":     place("EU", "IE", ""),
		"198.51.100.0/24":    place("OC", "AU", "NSW"),
		"203.0.113.0/24":     place("EU", "", ""),
		"10.0.0.0/8":         place("", "", ""),
		"2001:db8:1::/48":    place("NA", "US", "CA"),
		"2001:db8:1:8::/64":  place("AS", "CY", ""), // on the continent that geo.Path has it on
		"2001:db8:ffff::/48": place("EU", "DE", "BY"),
	})
}

func load(t testing.TB, s Source) *Follower {
	t.Helper()
	f, err := New(s, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *Follower) find(addr string) string {
	name, scope := f.Table().Load().Find(netip.MustParseAddr(addr))
	if netip.MustParseAddr(addr).Is4() && scope > 0 {
		scope -= 96
	}
	return fmt.Sprint(name, " ", scope)
}

func TestDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "city.mmdb")
	city(t, path)
	f := load(t, Source{Database: path, Networks: map[string]string{
		"10.1.0.0/16":     "zone-a/node-7",  // not known there
		"192.0.2.0/24":    "zone-b",         // known
		"2001:db8::/32":   "GEO-EU",         // known in part
		"fd00::/8":        "IE",             // by its code
		"fd00:1::/32":     "US-CA",          // likewise
		"203.0.112.0/20":  "GEO-AF/anybody", // around what is known
		"100.64.0.0/10":   "ie",             // no code, but a name
		"2001:db8:1::/48": "GEO-SA",
	}})
	for addr, want := range map[string]string{
		"192.0.2.1":      "GEO-EU/IE/IE-L 25",
		"192.0.2.200":    "GEO-EU/IE 25",
		"198.51.100.9":   "GEO-OC/AU/AU-NSW 24",
		"203.0.113.1":    "GEO-EU 24",
		"203.0.114.1":    "GEO-AF/anybody 23",
		"10.0.0.1":       " 16",
		"10.1.2.3":       "zone-a/node-7 16",
		"100.64.0.1":     "ie 10",
		"2001:db8:1::1":  "GEO-NA/US/US-CA 61",
		"2001:db8:1:8::": "GEO-EU/CY 64",
		"2001:db8:2::":   "GEO-EU 47",
		"fd00::1":        "GEO-EU/IE 32",
		"fd00:1::1":      "GEO-NA/US/US-CA 32",
		"2400::":         " 6",
	} {
		if got := f.find(addr); got != want {
			t.Errorf("%s is at %s, want %s", addr, got, want)
		}
	}
}

// Databases of IPv4 alone, and with other keys.
func TestOtherDatabases(t *testing.T) {
	dir := t.TempDir()
	four := filepath.Join(dir, "four.mmdb")
	database(t, four, "GeoLite2-Country", 4, map[string]mmdbtype.DataType{"192.0.2.0/24": place("EU", "IE", "")})
	for kind, data := range map[string]mmdbtype.Map{
		"ipinfo generic_country_free.mmdb": {"continent": text("EU"), "continent_name": text("Europe"), "country": text("IE"), "country_name": text("Ireland")},
		"ipinfo bundle_lite.mmdb":          {"continent": text("Europe"), "continent_code": text("EU"), "country": text("Ireland"), "country_code": text("IE"), "asn": text("AS64496")},
	} {
		path := filepath.Join(dir, "other.mmdb")
		database(t, path, kind, 6, map[string]mmdbtype.DataType{"192.0.2.0/24": data})
		for _, p := range []string{four, path} {
			if got := load(t, Source{Database: p}).find("192.0.2.1"); got != "GEO-EU/IE 24" {
				t.Errorf("%s: %s", kind, got)
			}
		}
	}
}

// TestBrokenDatabases has every octet of the tree and some of the rest wrong, and cuts the file everywhere: it is read or
// refused, in finite time.
func TestBrokenDatabases(t *testing.T) {
	dir := t.TempDir()
	path, broken := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "broken.mmdb")
	city(t, path)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	try := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(broken, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readDatabase(broken); err != nil {
			refused++
			if !strings.Contains(err.Error(), broken) {
				t.Errorf("%v does not name the file", err)
			}
		}
	}
	rng := rand.New(rand.NewPCG(11, 12))
	for range 1500 {
		bad := slices.Clone(good)
		for range 1 + rng.IntN(3) {
			bad[rng.IntN(len(bad))] ^= byte(1 << rng.IntN(8))
		}
		try(bad)
	}
	for cut := 0; cut < len(good); cut += 1 + rng.IntN(40) {
		try(good[:cut])
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	asn := filepath.Join(dir, "asn.mmdb")
	database(t, asn, "GeoLite2-ASN", 6, map[string]mmdbtype.DataType{"192.0.2.0/24": mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64496)}})
	table := write("table.yaml", "2001:db8::/32: IE\n192.0.2.1/24: IE\nnowhere: IE\n\"10.0.0.0/8\": a//b\n11.0.0.0/8: \"*\"\n12.0.0.0/8: ''\n13.0.0.0/8: "+strings.Repeat("x", 256)+"\n")
	for _, c := range []struct {
		source Source
		want   []string
	}{
		{Source{Database: filepath.Join(dir, "none.mmdb")}, []string{"reading locations: open ", "none.mmdb: no such file"}},
		{Source{Database: write("text.mmdb", "text")}, []string{"reading locations from ", "text.mmdb: ", "(hint: a file in MaxMind's format"}},
		{Source{Database: asn}, []string{"no network of this GeoLite2-ASN database has a country or a continent (hint: GeoLite2-Country"}},
		{Source{File: filepath.Join(dir, "none.yaml")}, []string{"reading locations: open ", "none.yaml: no such file"}},
		{Source{File: write("list.yaml", "- a\n")}, []string{"list.yaml:1:1: want keys and values, got a list"}},
		{Source{File: table}, []string{
			`table.yaml:2:15: ["192.0.2.1/24"]: "192.0.2.1/24" is no network, but an address in one (hint: 192.0.2.0/24)`, `table.yaml:3:10: ["nowhere"]: "nowhere" is no network (hint: `,
			`table.yaml:4:15: ["10.0.0.0/8"]: place "a//b" has a part without a name`, `table.yaml:5:13: ["11.0.0.0/8"]: place "*" is everywhere`,
			`table.yaml:6:13: ["12.0.0.0/8"]: it is nowhere`, "table.yaml:7:13: [\"13.0.0.0/8\"]: a place of 256 octets",
		}},
		{Source{Networks: map[string]string{"x": "IE", "y": "DE"}}, []string{`location of x: "x" is no network`, `location of y: `}},
	} {
		_, err := New(c.source, nil, slog.New(slog.DiscardHandler))
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in\n%v", want, err)
			}
		}
	}
}

// TestFilesThatChange replaces the database and the table, by good ones and bad ones, as editors and Kubernetes do.
func TestFilesThatChange(t *testing.T) {
	dir := t.TempDir()
	path, table := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "table.yaml")
	city(t, path)
	if err := os.WriteFile(table, []byte("10.0.0.0/8: zone-a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	complaints := make(chan string, 100)
	f, err := New(Source{Database: path, File: table}, registry, slog.New(tell{slog.DiscardHandler, complaints}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	expect := func(addr, want string) {
		t.Helper()
		for begin := time.Now(); f.find(addr) != want; time.Sleep(10 * time.Millisecond) {
			if time.Since(begin) > patience {
				t.Fatalf("%s is at %s, want %s", addr, f.find(addr), want)
			}
		}
	}
	complaint := func(want string) {
		t.Helper()
		select {
		case got := <-complaints:
			if !strings.HasPrefix(got, "keeping the old locations ") || !strings.Contains(got, want) {
				t.Errorf("logged %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("no complaint of %q", want)
		}
	}
	expect("10.1.1.1", "zone-a 8")
	next := filepath.Join(dir, "next")
	database(t, next, "GeoLite2-Country", 6, map[string]mmdbtype.DataType{"192.0.2.0/24": place("OC", "NZ", "")})
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	expect("192.0.2.1", "GEO-OC/NZ 24")
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	complaint("city.mmdb")
	if err := os.WriteFile(table, []byte("10.0.0.0/8: zone-b\nx: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	complaint(`table.yaml:2:4: ["x"]: "x" is no network`)
	if got := f.find("192.0.2.1") + ", " + f.find("10.1.1.1"); got != "GEO-OC/NZ 24, zone-a 8" {
		t.Errorf("after bad files: %s", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	complaint("no such file")
	if err := os.WriteFile(table, []byte("10.0.0.0/8: zone-c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	complaint("no such file") // the database is still missing: nothing changes in part
	city(t, path)
	expect("10.1.1.1", "zone-c 8")
	expect("192.0.2.1", "GEO-EU/IE/IE-L 25")
	if n := testutil.ToFloat64(f.ranges); n != float64(f.Table().Load().Len()) || n < 5 {
		t.Errorf("%v ranges by the metric", n)
	}
	if age := time.Since(time.Unix(int64(testutil.ToFloat64(f.built)), 0)); age < -time.Minute || age > time.Hour {
		t.Errorf("made %v ago by the metric", age)
	}
}

// tell passes on what is logged as an error.
type tell struct {
	slog.Handler
	to chan<- string
}

func (h tell) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (h tell) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.Value.String()
		return true
	})
	h.to <- line
	return nil
}

func (h tell) WithAttrs([]slog.Attr) slog.Handler { return h }

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
)

// TestForwardDefaults: the keys that stand in the example as a comment are all there are, and hold the defaults.
func TestForwardDefaults(t *testing.T) {
	text, err := os.ReadFile("../../../../deploy/dnsingress/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, comment, ok := strings.Cut(string(text), "\nforward: []")
	if !ok {
		t.Fatal("the example has no forward")
	}
	lines := regexp.MustCompile(`(?m)^#(.*)$`).FindAllStringSubmatch(comment, -1)
	example := "forward:\n"
	for _, l := range lines[:10] {
		example += l[1] + "\n"
	}
	got, err := Parse("c.yaml", []byte(least+example))
	if err != nil {
		t.Fatalf("%v\n%s", err, example)
	}
	want, err := Parse("c.yaml", []byte(least+`forward: [{zone: West.Test, to: ["[2001:db8::1]:53", "[2001:db8::2]:53"], tls: {}}]`))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Forward, got.Forward, cmp.Comparer(func(a, b forward.Address) bool { return a == b }), cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(Forward{})); d != "" {
		t.Errorf("defaults (-) and example (+) differ:\n%s", d)
	}
	z := want.Forwards()[0]
	if z.Name != "west.test." || z.Timeout != time.Second || z.TLS == nil || z.Health.Failures != 2 || z.To[0].String() != "[2001:db8::1]:53" {
		t.Errorf("%+v", z)
	}
}

// TestForwardMistakes has each mistake told with its place.
func TestForwardMistakes(t *testing.T) {
	const begin = least + "forward:\n  - "
	for _, c := range []struct{ text, want string }{
		{`{to: ["::1"]}`, "c.yaml:5:5: forward[0].zone: a name is missing"},
		{`{zone: west.test}`, "c.yaml:5:5: forward[0]: there is no server to ask (hint: "},
		{`{zone: b.apps.test, to: ["::1"]}`, "c.yaml:5:12: forward[0].zone: b.apps.test. is in zone apps.test., which is answered here (hint: a DNSDelegation refers"},
		{`{zone: apps.test, to: ["::1"]}`, "forward[0].zone: apps.test. is in zone apps.test."},
		{`{zone: west.test, to: [localhost]}`, `c.yaml:5:28: forward[0].to[0]: "localhost": no address of a server (hint: 192.0.2.1`},
		{`{zone: west.test, to: ["::1", "::1"]}`, "c.yaml:5:35: forward[0].to[1]: ::1 is listed twice"},
		{`{zone: west.test, to: ["::1"], policy: sequential}`, `forward[0].policy: "sequential" is unknown (hint: primary-fallback or round-robin)`},
		{`{zone: west.test, to: ["::1"], serveStale: 200h}`, "forward[0].serveStale: 200h0m0s is out of bounds (hint: 0s to 168h0m0s)"},
		{`{zone: west.test, to: ["::1"], timeout: 1ms}`, "forward[0].timeout: 1ms is out of bounds"},
		{`{zone: west.test, to: ["::1"], health: {interval: 1ms}}`, "forward[0].health.interval: 1ms is out of bounds"},
		{`{zone: west.test, to: ["::1"], health: {failures: -1}}`, "forward[0].health.failures: -1 is less than 1"},
		{`{zone: west.test, to: ["::1"], cache: {size: -1}}`, "forward[0].cache.size: -1 is less than 0"},
		{`{zone: west.test, to: ["::1"], inFlight: -1}`, "forward[0].inFlight: -1 is less than 1"},
		{`{zone: ., to: ["::1"]}`, `forward[0]: with all names forwarded for everybody this would be an open resolver (hint: clients: `},
		{`{zone: ., to: ["::1"], clients: ["fd00::/8"]}`, ""},
		{`{zone: west.test, to: ["::1"], tls: {caFile: /none}}`, "forward[0].tls.caFile: open /none: no such file"},
		{`{zone: west.test, to: ["::1"], tls: {caFile: /dev/null}}`, "forward[0].tls.caFile: there is no certificate in /dev/null"},
		{`{zone: west.test, to: ["::1"]}` + "\n  - " + `{zone: WEST.test., to: ["::2"]}`, "c.yaml:6:12: forward[1].zone: zone west.test. is forwarded twice"},
		{`{zone: ` + strings.Repeat("a.", 100) + `test, to: ["::1"]}`, "leaves no room for that of a probe"},
	} {
		_, err := Parse("c.yaml", []byte(begin+c.text))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s\ngives %v, want %q", c.text, err, c.want)
		}
	}
}

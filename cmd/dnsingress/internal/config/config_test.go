// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dnsingress/dnsingress/internal/cli"
)

const least = `zones:
  - origin: Apps.Test
    nameservers: [{name: ns1.apps.test, addresses: ["fd6e:7369:0:1::11"]}]
`

func TestDefaults(t *testing.T) {
	c, err := Parse("c.yaml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	z := c.Zones[0]
	if z.Origin != "apps.test." || z.SOA.Primary != "ns1.apps.test." || z.SOA.Mailbox != "hostmaster.apps.test." {
		t.Errorf("zone %+v", z)
	}
	if len(c.Listen) != 1 || c.Admin != "[::]:9153" || len(c.Kubernetes.HostnamePrefixes) != 2 {
		t.Errorf("config %+v", c)
	}
}

// TestZones: those of the configuration can be left out as long as DNSZones can be there in their place.
func TestZones(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"zones: []", ""},
		{"zones: []\nkubernetes: {sources: {dnsZones: {enabled: false}}}", "c.yaml:1:8: zones: no zone to serve, and kubernetes.sources.dnsZones is off (hint: "},
		{"kubernetes: {sources: {dnsZones: {namespaces: [a]}}}", "kubernetes.sources.dnsZones.namespaces: DNSZones are in no namespace"},
		{least + "    role: upper", ""},
		{least + "    role: upper\n    addresses: [\"fd00::1\"]", "c.yaml:5:16: zones[0].addresses: a zone of role upper only refers: it has no addresses of its own (hint: role: leaf)"},
		{least + "    role: middle", `c.yaml:4:11: zones[0].role: "middle" is unknown (hint: leaf or upper)`},
	} {
		_, err := Parse("c.yaml", []byte(c.text))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s\ngives %v, want %q", c.text, err, c.want)
		}
	}
}

// The example must be valid and, as it says, hold the defaults.
func TestDeployedExample(t *testing.T) {
	const path = "../../../../deploy/dnsingress/config.yaml"
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse("c.yaml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	want.Zones[0].Nameservers = got.Zones[0].Nameservers
	want.Prometheus.URLs = got.Prometheus.URLs
	compareAddress := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, got, compareAddress, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("defaults (-) and example (+) differ:\n%s", diff)
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	_, err := Parse("c.yaml", []byte(`zones:
  - origin: apps.test
    nameserver: []
  - origin: apps.test
    nameservers:
      - {name: ns1.apps.test}
      - {name: ns.elsewhere.test, addresses: ["fd00::1"]}
      - {name: ns2.apps.test, addresses: [10.0.0.300]}
    ttl: 1500ms
    maxAnswers: -1
listen: [localhost]
admin: 9153
prometheus:
  urls: [prometheus:9090, "ftp://dns:sesame@prometheus", "http://dns:sesame@[::1"]
  interval: 5
  staleness: 1s
  delay: -1s
  bearerTokenFile: /token
  basicAuth: {passwordFile: /password}
  headers: {Host: x}
  headerFiles: {Host: /host}
  tls: {keyFile: /key}
kubernetes:
  policyPrefix: dnsingress.dev
`))
	if m := (*cli.MisuseError)(nil); !errors.As(err, &m) {
		t.Fatalf("%v is no misuse", err)
	}
	for _, want := range []string{
		`c.yaml:2:5: zones[0].nameservers: a zone needs at least one nameserver (hint: `,
		`c.yaml:3:5: zones[0]: unknown key "nameserver" (hint: did you mean "nameservers"?)`,
		`c.yaml:4:13: zones[1].origin: zone apps.test. is listed twice`,
		`c.yaml:6:9: zones[1].nameservers[0]: nameserver ns1.apps.test. is inside the zone and has no address (hint: `,
		`c.yaml:7:46: zones[1].nameservers[1].addresses: nameserver ns.elsewhere.test. is outside the zone apps.test.`,
		`c.yaml:8:43: zones[1].nameservers[2].addresses[0]: "10.0.0.300": `,
		`c.yaml:9:10: zones[1].ttl: 1.5s is no time that DNS can carry (hint: `,
		`c.yaml:10:17: zones[1].maxAnswers: -1 is negative`,
		`c.yaml:11:10: listen[0]: "localhost" cannot be listened on (hint: `,
		`c.yaml:12:8: admin: "9153" cannot be listened on`,
		`c.yaml:14:10: prometheus.urls[0]: "prometheus:9090" is no HTTP address (hint: `,
		`prometheus.urls[1]: "ftp://xxxxx@prometheus" is no HTTP address`,
		`prometheus.urls[2]: "http://xxxxx@[::1" is no HTTP address`,
		`c.yaml:15:13: prometheus.interval: want a duration`,
		`c.yaml:16:14: prometheus.staleness: values would be stale after 1s`,
		`c.yaml:17:10: prometheus.delay: -1s is negative`,
		`c.yaml:18:20: prometheus.bearerTokenFile: bearerTokenFile and basicAuth both want the Authorization header (hint: one of them)`,
		`c.yaml:19:14: prometheus.basicAuth: a username is missing (hint: `,
		`c.yaml:21:16: prometheus.headerFiles: header "Host" is in headers too`,
		`c.yaml:22:8: prometheus.tls: a client certificate needs certFile and keyFile`,
		`prometheus: setting header "Host" is not allowed`,
		`c.yaml:24:17: kubernetes.policyPrefix: annotation prefix "dnsingress.dev"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(err.Error(), "sesame") {
		t.Error("a password is shown")
	}
	if t.Failed() {
		t.Logf("got:\n%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(least))
	f.Add([]byte("zones: [{origin: ., nameservers: [{name: .}], soa: {primary: x}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("c.yaml", data)
		if err == nil && len(c.Zones) == 0 && !*c.Kubernetes.Sources.DNSZones.Enabled {
			t.Error("accepted where there can be no zone")
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDNS(t *testing.T) {
	c, err := Parse("c.yaml", []byte(least+`tls: {listen: ["[::]:853"], cert: tls.crt, key: tls.key}
dns:
  id: ns1
  version: "1.0"
  rateLimit: {perSecond: 200, slip: 0}
  tcp: {connections: 10, perClient: 2, idle: 3s, memory: 1000000}
  queryLog: {every: 1000}
  dnstap: {to: "unix:/run/dnstap.sock"}
  locations: {"2001:db8::/32": zone-a/node-7}
  locationDatabase: city.mmdb
`))
	if err != nil {
		t.Fatal(err)
	}
	want := DNS{
		ID: "ns1", Version: "1.0", RateLimit: RateLimit{200, new(int)}, TCP: TCP{10, 2, 3 * time.Second, 1000000},
		QueryLog: QueryLog{1000, 100}, Dnstap: Dnstap{"unix:/run/dnstap.sock", 1}, Locations: map[string]string{"2001:db8::/32": "zone-a/node-7"},
		LocationDatabase: "city.mmdb",
	}
	if diff := cmp.Diff(want, c.DNS); diff != "" {
		t.Error(diff)
	}
}

func TestDNSMistakes(t *testing.T) {
	_, err := Parse("c.yaml", []byte(least+`tls: {listen: [localhost]}
dns:
  id: `+strings.Repeat("n", 129)+`
  rateLimit: {perSecond: -1, slip: -1}
  tcp: {connections: -1}
  queryLog: {perSecond: -1}
  dnstap: {to: /run/dnstap.sock}
  locations: {nowhere: zone-a, 192.0.2.1/24: IE}
`))
	for _, want := range []string{
		`"localhost" cannot be listened on`, "TLS needs a certificate and its key", "server ID of 129 octets exceeds 128", "slip: -1 is less than 0", "-1 is less than 0",
		"-1 is less than 1", `"/run/dnstap.sock" is neither a socket nor a file (hint: unix:`, `c.yaml:11:24: dns.locations["nowhere"]: "nowhere" is no network`, `(hint: 192.0.2.0/24)`, "c.yaml:4:",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

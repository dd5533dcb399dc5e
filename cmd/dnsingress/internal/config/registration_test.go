// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte("leaf:hmac-sha256:c2VjcmV0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRegistration(t *testing.T) {
	c, err := Parse("c.yaml", []byte(least+`    role: upper
    infrastructureTTL: 2m
    registrations: {leastLease: 5s, mostLease: 30s, keepLast: 0s, addressTTL: 1h, grants: [{key: Leaf, children: ["*.Apps.Test"], nameservers: [ns.leaf.apps.test], addresses: ["2001:db8::/32"]}]}
  - origin: shop.Example.org
register:
  - {zone: Example.org, uppers: ["2001:db8::1+key:leaf", "[2001:db8::2]:5353+key:leaf"], nameserver: {name: NS.leaf.example.org, addresses: ["2001:db8:1::53"]}}
delegations: {compare: 0s}
tsigKeys: [`+keyFile(t)+`]
`))
	if err != nil {
		t.Fatal(err)
	}
	p := c.RegistrationPolicies()["apps.test."]
	if p.Lease != 30*time.Second || p.Least != 5*time.Second || p.Most != 30*time.Second || p.KeepLast != 0 || p.MostServers != 13 || p.TTL != 120 || p.AddressTTL != 3600 || p.Settle != 20*time.Second {
		t.Errorf("the policy is %+v", p)
	}
	if len(p.Grants) != 1 || p.Grants[0].Key != "leaf." || p.Grants[0].Children[0] != "*.apps.test." || p.Grants[0].Nameservers[0] != "ns.leaf.apps.test." || len(p.Grants[0].Addresses) != 1 {
		t.Errorf("the grants are %+v", p.Grants)
	}
	if len(p.Reserved) == 0 || len(c.RegistrationPolicies()) != 1 {
		t.Errorf("%v are reserved of %v", p.Reserved, c.RegistrationPolicies())
	}
	s := c.RegisterSections()
	if len(s) != 1 || s[0].Zone != "example.org." || len(s[0].Uppers) != 2 || s[0].Server.Name != "ns.leaf.example.org." || s[0].Lease != time.Minute || s[0].Interval != time.Minute {
		t.Errorf("the sections are %+v", s)
	}
	if n := c.Zones[1].Nameservers; len(n) != 1 || n[0].Name != "ns.leaf.example.org." || len(n[0].Addresses) != 0 {
		t.Errorf("a zone without a name server of its own has %+v", n)
	}
	if *c.Delegations.Compare != 0 || c.Delegations.Port != 53 {
		t.Errorf("comparisons: %+v", c.Delegations)
	}
}

func TestEveryMistakeInRegistration(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no grant", "{}", `c.yaml:4:20: zones[0].registrations: nobody may register anything (hint: grants: [{key: leaf-1, children: [shop.apps.test.], nameservers: ["*.leaf-1.apps.test."]}])`},
		{"a lease beyond its bounds", "{lease: 2h, GRANTS}", `c.yaml:4:28: zones[0].registrations.lease: 2h0m0s cannot be (hint: whole seconds, 2s to 1h0m0s)`},
		{"a lease of half seconds", "{lease: 2500ms, GRANTS}", `c.yaml:4:28: zones[0].registrations.lease: 2.5s cannot be (hint: whole seconds, `},
		{"a least lease of less than a second", "{leastLease: 10ms, GRANTS}", `c.yaml:4:33: zones[0].registrations.leastLease: 10ms cannot be (hint: whole seconds, 1s to 1h0m0s)`},
		{"a least lease above the most", "{lease: 10s, leastLease: 20s, mostLease: 10s, GRANTS}", `c.yaml:4:45: zones[0].registrations.leastLease: 20s cannot be (hint: whole seconds, 1s to 10s)`},
		{"a most lease of days", "{mostLease: 48h, GRANTS}", `c.yaml:4:32: zones[0].registrations.mostLease: 48h0m0s cannot be (hint: whole seconds, 1s to 24h0m0s)`},
		{"a negative time of the last one", "{keepLast: -1s, GRANTS}", `c.yaml:4:31: zones[0].registrations.keepLast: -1s is negative (hint: 0s: not at all)`},
		{"a TTL of more than a week", "{ttl: 200h, GRANTS}", `c.yaml:4:26: zones[0].registrations.ttl: 200h0m0s cannot be (hint: whole seconds, 0s to 168h0m0s)`},
		{"a negative TTL of addresses", "{addressTTL: -1s, GRANTS}", `c.yaml:4:33: zones[0].registrations.addressTTL: -1s cannot be (hint: whole seconds, 0s to 168h0m0s)`},
		{"a settling time of hours", "{settle: 1h, GRANTS}", `c.yaml:4:29: zones[0].registrations.settle: 1h0m0s is no time to wait for leaves (hint: 0s to 10m)`},
		{"too many name servers", "{mostServers: 65, GRANTS}", `c.yaml:4:34: zones[0].registrations.mostServers: 65 name servers of one child cannot be (hint: 1 to 64)`},
		{"an unknown word", "{most: 1h, GRANTS}", `c.yaml:4:21: zones[0].registrations: unknown key "most" (hint: known: addressTTL, grants, keepLast, lease, leastLease, mostLease, mostServers, settle, ttl)`},
		{"a grant without a key", `{grants: [{children: ["*.apps.test"], nameservers: ["*.apps.test"]}]}`, `c.yaml:4:30: zones[0].registrations.grants[0]: a key is missing: who registers signs with it (hint: key: leaf-1)`},
		{"a key that is not there", `{grants: [{key: lost, children: ["*.apps.test"], nameservers: ["*.apps.test"]}]}`, `c.yaml:4:36: zones[0].registrations.grants[0].key: there is no TSIG key lost. (hint: a file in tsigKeys must have it)`},
		{"a grant of nothing", `{grants: [{key: leaf, nameservers: ["*.apps.test"]}]}`, `c.yaml:4:30: zones[0].registrations.grants[0]: children are missing: nothing is granted (hint: children: [`},
		{"a grant to nobody", `{grants: [{key: leaf, children: ["*.apps.test"]}]}`, `c.yaml:4:30: zones[0].registrations.grants[0]: nameservers are missing: nothing is granted (hint: nameservers: [`},
		{"a pattern with two asterisks", `{grants: [{key: leaf, children: ["*.*.apps.test"], nameservers: ["*.apps.test"]}]}`, `c.yaml:4:53: zones[0].registrations.grants[0].children[0]: "*.*.apps.test." is no name and no pattern (hint: shop.apps.example.org, or `},
		{"a child outside the zone", `{grants: [{key: leaf, children: [shop.test], nameservers: ["*.apps.test"]}]}`, `c.yaml:4:53: zones[0].registrations.grants[0].children[0]: shop.test. is not below the zone apps.test. (hint: *.apps.test.)`},
		{"the zone as its own child", `{grants: [{key: leaf, children: [apps.test], nameservers: ["*.apps.test"]}]}`, `c.yaml:4:53: zones[0].registrations.grants[0].children[0]: apps.test. is not below the zone apps.test. (hint: `},
		{"a name server that is no name", `{grants: [{key: leaf, children: ["*.apps.test"], nameservers: ["a..test"]}]}`, `c.yaml:4:83: zones[0].registrations.grants[0].nameservers[0]: "a..test." is no name and no pattern (hint: `},
		{"a prefix with bits of a host", `{grants: [{key: leaf, children: ["*.apps.test"], nameservers: ["*.apps.test"], addresses: ["2001:db8::1/32"]}]}`, `zones[0].registrations.grants[0].addresses[0]: 2001:db8::1/32 is no prefix (hint: 2001:db8::/32)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			grants := `grants: [{key: leaf, children: ["*.apps.test"], nameservers: ["*.apps.test"]}]`
			mistake(t, least+"    registrations: "+strings.Replace(c.text, "GRANTS", grants, 1)+"\n", c.want)
		})
	}
	for _, c := range []struct{ name, text, want string }{
		{"no zone", `register: [{uppers: ["fd00::1+key:leaf"]}]`, `c.yaml:4:12: register[0].zone: a name is missing`},
		{"no name of a zone", `register: [{zone: "a..b", uppers: ["fd00::1+key:leaf"]}]`, `c.yaml:4:19: register[0].zone: "a..b." is no domain name`},
		{"a zone twice", `register: [{zone: up.test, uppers: ["fd00::1"]}, {zone: Up.test, uppers: ["fd00::2"]}]`, `c.yaml:4:57: register[1].zone: zone up.test. is listed twice (hint: all uppers of a zone in one place)`},
		{"no upper", `register: [{zone: up.test}]`, `c.yaml:4:12: register[0]: there are no uppers (hint: uppers: [`},
		{"an upper that is no address", `register: [{zone: up.test, uppers: [ns.up.test]}]`, `c.yaml:4:37: register[0].uppers[0]: `},
		{"an upper twice", `register: [{zone: up.test, uppers: ["fd00::1", "[fd00::1]:53"]}]`, `c.yaml:4:48: register[0].uppers[1]: upper [fd00::1]:53 is listed twice`},
		{"no key to register with", `register: [{zone: up.test, uppers: ["fd00::1"], nameserver: {name: ns.leaf.test}}]`, `c.yaml:4:37: register[0].uppers[0]: without a key nobody can register (hint: [fd00::1]:53+key:leaf-1)`},
		{"a key that is not there", `register: [{zone: up.test, uppers: ["fd00::1+key:lost"]}]`, `c.yaml:4:37: register[0].uppers[0]: there is no TSIG key lost. (hint: a file in tsigKeys must have it)`},
		{"a lease of half seconds", `register: [{zone: up.test, uppers: ["fd00::1"], lease: 1500ms}]`, `c.yaml:4:56: register[0].lease: 1.5s is no lease (hint: whole seconds, 1s to 24h0m0s)`},
		{"a lease of days", `register: [{zone: up.test, uppers: ["fd00::1"], lease: 25h}]`, `c.yaml:4:56: register[0].lease: 25h0m0s is no lease (hint: `},
		{"comparing all the time", `register: [{zone: up.test, uppers: ["fd00::1"], compare: 10ms}]`, `c.yaml:4:58: register[0].compare: 10ms is too short (hint: 1s at least)`},
		{"a name server without a name", `register: [{zone: up.test, uppers: ["fd00::1+key:leaf"], nameserver: {addresses: ["fd00::9"]}}]`, `c.yaml:4:70: register[0].nameserver.name: a name is missing`},
		{"a name server without the address that it needs", `register: [{zone: up.test, uppers: ["fd00::1+key:leaf"], nameserver: {name: ns.up.test}}]`, `c.yaml:4:70: register[0].nameserver: name server ns.up.test. is inside the upper's zone and has no address (hint: addresses: [...])`},
		{"an address that the upper cannot hold", `register: [{zone: up.test, uppers: ["fd00::1+key:leaf"], nameserver: {name: ns.leaf.test, addresses: ["fd00::9"]}}]`, `c.yaml:4:102: register[0].nameserver.addresses: name server ns.leaf.test. is outside the upper's zone up.test., which cannot hold its addresses (hint: the zone of that name has them)`},
		{"comparing delegations all the time", `delegations: {compare: 10ms}`, `c.yaml:4:24: delegations.compare: 10ms is no time between comparisons (hint: 1s at least; 0s: not at all)`},
		{"a port that is none", `delegations: {port: 70000}`, `c.yaml:4:21: delegations.port: 70000 is no port (hint: 53)`},
	} {
		t.Run(c.name, func(t *testing.T) { mistake(t, least+c.text+"\n", c.want) })
	}
}

// mistake checks that a configuration has one mistake, which is told of with its place and a hint.
func mistake(t *testing.T, text, want string) {
	t.Helper()
	_, err := Parse("c.yaml", []byte(text+"tsigKeys: ["+keyFile(t)+"]\n"))
	if err == nil {
		t.Fatal("it is taken")
	}
	if !strings.Contains(err.Error(), want) || strings.Contains(strings.TrimSpace(err.Error()), "\n") {
		t.Errorf("got:  %v\nwant: %s", err, want)
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPeers(t *testing.T) {
	key := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(key, []byte("shared:hmac-sha256:c2VjcmV0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	head := least + "tsigKeys: [" + key + "]\n"
	c, err := Parse("c.yaml", []byte(head+`cluster: {name: zurich, location: GEO-EU/CH}
peers:
  zone: Peers.Test
  key: Shared
  clusters:
    - {name: bern, servers: ["[fd00::1]:5353", "fd00::2"], hosts: ["*.Apps.test", shop.test]}
  merge:
    - {hosts: [a.apps.test], by: weight, weights: {zurich: 3, bern: 0}}
    - {hosts: ["*.apps.test"], by: primary-fallback, order: [bern, zurich]}
`))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Peers
	if got := p.Clusters[0].Remotes(); len(got) != 2 || got[0].String() != "[fd00::1]:5353+key:shared." || got[1].String() != "[fd00::2]:53+key:shared." {
		t.Errorf("servers %v", got)
	}
	if p.Origin("zurich") != "zurich.peers.test." || p.Lease.String() != "5s" {
		t.Errorf("%+v", p)
	}
	policy := c.Policies()["zurich.peers.test."]
	if len(policy.Allow) != 1 || policy.Allow[0].String() != "key:shared." || len(policy.Notify) != 2 {
		t.Errorf("the private zone is for %v, and told are %v", policy.Allow, policy.Notify)
	}
	for host, want := range map[string]bool{"a.apps.test.": true, "b.a.apps.test.": true, "apps.test.": false, "shop.test.": true, "x.shop.test.": false, "badapps.test.": false} {
		if got := p.Clusters[0].Hosts.Has(host); got != want {
			t.Errorf("%s is granted: %t", host, got)
		}
	}
	for host, want := range map[string]MergeBy{"a.apps.test.": MergeWeight, "b.apps.test.": MergePrimaryFallback, "shop.test.": MergeRoundRobin} {
		if got := p.Merging(host).By; got != want {
			t.Errorf("%s is merged by %s", host, got)
		}
	}
	if m := p.Merging("a.apps.test."); m.Weight("zurich") != 3 || m.Weight("bern") != 0 || m.Weight("basel") != 1 {
		t.Errorf("weights %+v", m)
	}
}

func TestEveryMistakeInPeers(t *testing.T) {
	_, err := Parse("c.yaml", []byte(`zones:
  - origin: zurich.peers.test
    nameservers: [{name: ns.elsewhere.test}]
cluster:
  name: Zürich
  location: "a//b"
  identity: "x y"
peers:
  zone: peers.test
  lease: 100ms
  key: gone
  publish: ["*.*.test"]
  clusters:
    - name: bern
      servers: [localhost, "fd00::1+key:k", "fd00::1", "[fd00::1]:53"]
      hosts: ["a b.test."]
      key: lost
    - {name: bern, servers: [], hosts: []}
    - {servers: ["fd00::2"], hosts: ["*"]}
  merge:
    - {by: sometimes}
    - {by: round-robin, weights: {bern: 1}, order: [bern]}
    - {by: primary-fallback}
    - {by: primary-fallback, order: [bern, bern, basel], hosts: []}
    - {by: weight, weights: {basel: 2}}
`))
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		`c.yaml:2:13: zones[0].origin: zurich.peers.test. is at or below peers.zone, which is private (hint: `,
		`c.yaml:5:9: cluster.name: "Zürich" is no name of a cluster (hint: `,
		`c.yaml:6:13: cluster.location: "a//b" is no location (hint: `,
		`c.yaml:7:13: cluster.identity: "x y" is no identity (hint: `,
		`c.yaml:10:10: peers.lease: 100ms is no lease (hint: 500ms to 1h`,
		`c.yaml:11:8: peers.key: there is no TSIG key gone. (hint: `,
		`c.yaml:12:13: peers.publish[0]: "*.*.test." is no host name`,
		`c.yaml:15:17: peers.clusters[0].servers[0]: "localhost": no address (hint: `,
		`c.yaml:15:28: peers.clusters[0].servers[1]: the key is the cluster's, not a server's (hint: `,
		`c.yaml:15:56: peers.clusters[0].servers[3]: [fd00::1]:53 is a server of bern already (hint: `,
		`c.yaml:17:12: peers.clusters[0].key: there is no TSIG key lost. (hint: `,
		`c.yaml:18:14: peers.clusters[1].name: cluster bern is listed twice (hint: `,
		`c.yaml:18:7: peers.clusters[1]: there is no server to ask (hint: `,
		`c.yaml:18:7: peers.clusters[1]: bern may publish nothing here (hint: `,
		`c.yaml:19:7: peers.clusters[2]: a name is missing (hint: `,
		`c.yaml:21:12: peers.merge[0].by: "sometimes" is unknown (hint: `,
		`c.yaml:22:34: peers.merge[1].weights: weights mean nothing to round-robin (hint: by: weight)`,
		`peers.merge[1].order: an order means nothing to round-robin (hint: `,
		`c.yaml:23:7: peers.merge[2]: which cluster is the primary is missing (hint: `,
		`peers.merge[3].order[1]: bern is listed twice`,
		`peers.merge[3].order[2]: there is no cluster "basel" (hint: `,
		`peers.merge[3].hosts: the rule is for no host (hint: `,
		`c.yaml:25:37: peers.merge[4].weights.basel: there is no cluster "basel" (hint: `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("got:\n%v", err)
	}
	for _, c := range []struct{ text, want string }{
		{"peers: {clusters: [{name: bern}]}", "peers: without a zone there is nothing that peers could ask for (hint: "},
		{"peers: {zone: peers.test}", "cluster: peers need a name to ask this cluster for (hint: "},
		{"cluster: {name: bern}\npeers: {zone: peers.test, clusters: [{name: bern, servers: [\"fd00::1\"], hosts: [\"*\"]}]}", "bern is this cluster itself (hint: "},
		{"cluster: {name: zurich}\npeers: {zone: peers.test, clusters: [{name: bern, servers: [\"fd00::1\"], hosts: [\"*\"]}]}", "without a TSIG key anybody could be bern (hint: "},
	} {
		if _, err := Parse("c.yaml", []byte(least+c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngives %v, want %q", c.text, err, c.want)
		}
	}
}

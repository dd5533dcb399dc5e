// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Transfer says who may have a zone, and who is told when it changes.
type Transfer struct {
	// Allow are prefixes, keys, or both at once: 2001:db8::/32, key:NAME, 2001:db8::/32+key:NAME. Any of them is
	// enough. Default: nobody.
	Allow transfer.Access `yaml:"allow"`
	// Notify are servers to be told, as 192.0.2.1, [2001:db8::1]:5353 or 2001:db8::1+key:NAME. Default: none.
	Notify []transfer.Remote `yaml:"notify"`
}

// checkTransfers reads the keys and finds out whether all that are named are there.
func (c *Config) checkTransfers(f *strictyaml.File) {
	c.Keys = transfer.Keys{}
	for i, path := range c.TSIGKeys {
		if err := c.Keys.Load(path); err != nil {
			f.Problem(fmt.Sprintf("tsigKeys[%d]", i), "", "%v", err)
		}
	}
	need := func(at, key string) {
		if key != "" && c.Keys[key] == nil {
			f.Problem(at, "a file in tsigKeys must have it", "there is no TSIG key %s", key)
		}
	}
	for i, z := range c.Zones {
		for k, g := range z.Transfer.Allow {
			need(fmt.Sprintf("zones[%d].transfer.allow[%d]", i, k), g.Key)
		}
		for k, r := range z.Transfer.Notify {
			need(fmt.Sprintf("zones[%d].transfer.notify[%d]", i, k), r.Key)
		}
	}
	if c.State == "" {
		return
	}
	if info, err := os.Stat(c.State); err != nil {
		f.Problem("state", "", "%v", err)
	} else if !info.IsDir() {
		f.Problem("state", "", "%s is no directory", c.State)
	}
}

// Policies are the transfers of all zones.
func (c *Config) Policies() map[string]transfer.Policy {
	policies := map[string]transfer.Policy{}
	for _, z := range c.Zones {
		policies[z.Origin] = transfer.Policy{Allow: z.Transfer.Allow, Notify: z.Transfer.Notify}
	}
	if c.Peers.Enabled() {
		policies[c.Peers.Origin(c.Cluster.Name)] = c.Peers.Policy()
	}
	return policies
}

// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// frontTTL of the proxies' addresses, in seconds. They never change while a front stands.
const frontTTL = 30

// frontWords says how clients come to a proxy.
func frontWords(u scenario.Setup) string {
	if u.Front == frontKeepalived {
		return fmt.Sprintf("one name with one virtual address (TTL %d s), which keepalived (VRRP, advertisements every second) holds on one worker whose replica serves; the other replicas stand by", frontTTL)
	}
	return fmt.Sprintf("one name with the static addresses of these workers (TTL %d s)", frontTTL)
}

// VirtualAddress is the one that a front of one address has: in the nodes' network, above all nodes.
func VirtualAddress(inv *inventory.Inventory) netip.Addr {
	b := inv.Network.Nodes.Masked().Addr().As16()
	b[14], b[15] = 0xff, 0x01
	return netip.AddrFrom16(b)
}

// keepalivedConfig is the same on all workers: who has served for longest keeps the address, and nobody takes it back.
const keepalivedConfig = `global_defs {
    script_user root
    enable_script_security
}
vrrp_script serves {
    script "/usr/bin/curl --silent --fail --globoff --max-time 1 --output /dev/null {{.Alive}}"
    interval 1   # second, between checks
    timeout 1
    fall 2       # failures in a row that give the address away
    rise 1
}
vrrp_instance front {
    state BACKUP
    nopreempt
    interface LINK
    virtual_router_id 51
    priority 100
    advert_int 1 # second; gone after three and a part (RFC 5798, Master_Down_Interval)
    version 3
    virtual_ipaddress {
        fe80::ff01/64 # the first is link-local (RFC 5798 §5.2.9)
        {{.Address}}/128
    }
    track_script {
        serves
    }
}
`

// resolve tells the clients' resolvers where the system's name is: the front of a proxy, or who answers for the zone.
func (b *Bench) resolve(ctx context.Context, s System, u scenario.Setup) error {
	var line string
	switch s.reach {
	case byAddress:
		return nil
	case byProxy:
		line = proxyNames(s.Host(b.Inventory), b.front(u))
	case byZone:
		line = stub(strings.TrimSuffix(b.Inventory.Zone, "."), b.Servers(s, u))
	}
	return b.onClients(ctx, line, "", "telling the resolver of %s where "+s.Name+" is")
}

// front lists the addresses that a proxy is reached at.
func (b *Bench) front(u scenario.Setup) []netip.Addr {
	if u.Front == frontKeepalived {
		return []netip.Addr{VirtualAddress(b.Inventory)}
	}
	var addresses []netip.Addr
	for _, w := range servers(b.Inventory, u) {
		addresses = append(addresses, w.Address)
	}
	return addresses
}

// Servers lists who answers for the zone in front of the clients' resolvers; nobody for a system that is not reached by it.
func (b *Bench) Servers(s System, u scenario.Setup) []netip.AddrPort {
	if s.reach != byZone {
		return nil
	}
	var all []netip.AddrPort
	for _, w := range servers(b.Inventory, u) {
		all = append(all, netip.AddrPortFrom(w.Address, 53))
	}
	return all
}

// proxyNames is the command line that gives a host and all names below it these addresses in unbound.
func proxyNames(host string, addresses []netip.Addr) string {
	lines := []string{
		"unbound-control -q local_zone_remove " + host,
		fmt.Sprintf("unbound-control -q local_zone %s redirect", host),
	}
	for _, a := range addresses {
		lines = append(lines, fmt.Sprintf("unbound-control -q local_data %s %d IN AAAA %s", host, frontTTL, a))
	}
	return "set -e\n" + strings.Join(lines, "\n")
}

// stub is the command line that has unbound ask these servers for a zone.
func stub(zone string, servers []netip.AddrPort) string {
	line := "unbound-control -q stub_add " + zone
	for _, s := range servers {
		line += " " + s.Addr().String()
	}
	return line
}

// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Remote is a server that is asked or told: "192.0.2.1", "[2001:db8::1]:5353", "2001:db8::1+key:NAME".
type Remote struct {
	Addr netip.AddrPort
	Key  string // what messages to it are signed with; "": nothing
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Remote) UnmarshalText(text []byte) error {
	address, key, err := cutKey(string(text))
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(address); err == nil {
		*r = Remote{netip.AddrPortFrom(ip, 53), key}
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("no address (hint: 192.0.2.1, [2001:db8::1]:53 or 2001:db8::1+key:NAME)")
	}
	*r = Remote{at, key}
	return nil
}

func (r Remote) String() string { return withKey(r.Addr.String(), r.Key) }

// Grant is who may do something: addresses, a key, or both of one: "2001:db8::/32", "192.0.2.1", "key:NAME",
// "2001:db8::/32+key:NAME".
type Grant struct {
	Prefix netip.Prefix // invalid: whatever address
	Key    string       // "": also unsigned
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Grant) UnmarshalText(text []byte) error {
	address, key, err := cutKey(string(text))
	if err != nil {
		return err
	}
	if address == "" && key != "" {
		*g = Grant{Key: key}
		return nil
	}
	if ip, err := netip.ParseAddr(address); err == nil {
		ip = ip.Unmap()
		*g = Grant{netip.PrefixFrom(ip, ip.BitLen()), key}
		return nil
	}
	prefix, err := netip.ParsePrefix(address)
	if err != nil {
		return errors.New("no prefix (hint: 2001:db8::/32, key:NAME or 2001:db8::/32+key:NAME)")
	}
	if prefix.Addr().Is4In6() { // clients' addresses are compared as IPv4
		if prefix.Bits() < 96 {
			return errors.New("a prefix of IPv4 and IPv6 together (hint: 192.0.2.0/24 and 2001:db8::/32 apart)")
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	*g = Grant{prefix.Masked(), key}
	return nil
}

func (g Grant) String() string {
	if !g.Prefix.IsValid() {
		return "key:" + g.Key
	}
	return withKey(g.Prefix.String(), g.Key)
}

// Access is a list of grants, any of which is enough. An empty one lets nobody in.
type Access []Grant

// Permits tells whether a client may: its address, and the key that its message is well signed with, or "".
func (a Access) Permits(from netip.Addr, key string) bool {
	from = plain(from)
	for _, g := range a {
		if (!g.Prefix.IsValid() || g.Prefix.Contains(from)) && (g.Key == "" || g.Key == key) {
			return true
		}
	}
	return false
}

// cutKey takes the key off "ADDRESS+key:NAME" or "key:NAME".
func cutKey(text string) (address, key string, err error) {
	address, name, found := strings.Cut(text, "key:")
	if !found {
		return text, "", nil
	}
	if address != "" {
		var plus bool
		if address, plus = strings.CutSuffix(address, "+"); !plus {
			return "", "", errors.New("between address and key belongs a + (hint: 2001:db8::/32+key:NAME)")
		}
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return "", "", errors.New("it names no key (hint: key:NAME)")
	}
	return address, dns.CanonicalName(name), nil
}

func withKey(address, key string) string {
	if key == "" {
		return address
	}
	return address + "+key:" + key
}

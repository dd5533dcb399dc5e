// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"errors"
	"net/netip"
)

// Address is that of a server: "192.0.2.1", "2001:db8::1", "[2001:db8::1]:5353". Without a port it is 53, and 853 for TLS.
type Address netip.AddrPort

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Address) UnmarshalText(text []byte) error {
	if ip, err := netip.ParseAddr(string(text)); err == nil {
		*a = Address(netip.AddrPortFrom(ip, 0))
		return nil
	}
	at, err := netip.ParseAddrPort(string(text))
	if err != nil || at.Port() == 0 {
		return errors.New("no address of a server (hint: 192.0.2.1, 2001:db8::1 or [2001:db8::1]:53)")
	}
	*a = Address(at)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String returns the address as UnmarshalText reads it.
func (a Address) String() string {
	if at := netip.AddrPort(a); at.Port() == 0 {
		return at.Addr().String()
	}
	return netip.AddrPort(a).String()
}

// with returns the address with a port where it has none.
func (a Address) with(port uint16) netip.AddrPort {
	at := netip.AddrPort(a)
	if at.Port() == 0 {
		return netip.AddrPortFrom(at.Addr(), port)
	}
	return at
}

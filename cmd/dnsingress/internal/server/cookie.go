// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"
)

const (
	clientCookieLen = 8
	serverCookieLen = 16
)

// cookies makes server cookies that other implementations with the same secret can check: RFC 9018 §4.
type cookies struct{ key0, key1 uint64 }

func newCookies() *cookies {
	var secret [16]byte
	rand.Read(secret[:]) // never fails
	return cookiesFrom(secret)
}

func cookiesFrom(secret [16]byte) *cookies {
	return &cookies{binary.LittleEndian.Uint64(secret[:]), binary.LittleEndian.Uint64(secret[8:])}
}

// proven tells whether the last query came from where it says it came: it had a server cookie that this server, or
// one with the same secret, gave its address in the last hour (RFC 9018 §4.3).
func (r *Responder) proven(peer Peer, now time.Time) bool {
	return r.opt.present && r.cookies.valid(r.opt.cookie, peer.Addr, uint32(now.Unix()))
}

func (c *cookies) valid(cookie []byte, from netip.Addr, now uint32) bool {
	if len(cookie) != cookieLen {
		return false
	}
	at := binary.BigEndian.Uint32(cookie[clientCookieLen+4:])
	if age := int32(now - at); age > 3600 || age < -300 {
		return false
	}
	var want [cookieLen]byte
	return subtle.ConstantTimeCompare(c.appendAt(want[:0], cookie[:clientCookieLen], from, at), cookie) == 1
}

// appendAt appends a cookie for a client as of an instant in seconds: its own part and the server's. No answer depends on a
// cookie, but that one who has a valid one is known not to be forged.
func (c *cookies) appendAt(b, client []byte, from netip.Addr, now uint32) []byte {
	var in [clientCookieLen + 8 + 16]byte
	copy(in[:], client)
	in[8] = 1 // version; three reserved octets follow
	binary.BigEndian.PutUint32(in[12:], now)
	size := 16
	if from.Is4() || from.Is4In6() {
		a := from.As4()
		size += copy(in[16:], a[:])
	} else {
		a := from.As16()
		size += copy(in[16:], a[:])
	}
	b = append(b, in[:16]...)
	return binary.LittleEndian.AppendUint64(b, c.sipHash(in[:size]))
}

// sipHash is SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012).
func (c *cookies) sipHash(m []byte) uint64 {
	v0, v1 := c.key0^0x736f6d6570736575, c.key1^0x646f72616e646f6d
	v2, v3 := c.key0^0x6c7967656e657261, c.key1^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	last := uint64(len(m)) << 56
	for ; len(m) >= 8; m = m[8:] {
		w := binary.LittleEndian.Uint64(m)
		v3 ^= w
		round()
		round()
		v0 ^= w
	}
	for i, b := range m {
		last |= uint64(b) << (8 * i)
	}
	v3 ^= last
	round()
	round()
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}

// SPDX-License-Identifier: Apache-2.0

// Package fanout is one source and many subscribers over QUIC, as in media over QUIC: a source
// publishes objects on a track to a relay, which passes each on to every subscriber of the track.
// It has both sides: Relay, and Party, which is a source and subscribers in one process, so that
// one clock tells how long each object took to each of them.
//
// # Protocol
//
// It is the least that carries the pattern, not MoQT (draft-ietf-moq-transport), whose versions do
// not yet agree. ALPN is "fanout/1". A client opens a bidirectional stream and writes a line, which
// the relay answers with the line "OK" or "NO reason"; the stream stays open as long as the session:
//
//	PUBLISH TRACK datagrams|streams|stream
//	SUBSCRIBE TRACK datagrams|streams|stream
//
// The source then sends objects in the form that it named, the relay to each subscriber in that which
// the subscriber named:
//
//	datagrams   each object is a datagram (RFC 9221): it may be lost, and waits for none before it
//	streams     each object is a unidirectional stream to its end: none is lost, none waits for another
//	stream      all objects are on one long-lived stream, each behind its length: each waits for those before it
//
// An object is 32 bytes, big endian, and filler: the number of the run, the object's number in it,
// the instant at which it was due and that at which it was sent, in Unix nanoseconds.
//
// The relay holds up to 256 objects for a subscriber that is slow, and drops what comes then.
//
// # Samples
//
// A delivery to a subscriber is a row: user is the subscriber, seq the object, request "object",
// sent_ns when the source sent it, total_ns from when it was due until it was there whole. An object
// that does not come to a subscriber is a row with error "lost". Each session that is begun is a row
// with request "subscribe", its lookup and handshake; one that ends before it should, a row with
// request "session" and why. What the source cannot send is a row with request "publish".
package fanout

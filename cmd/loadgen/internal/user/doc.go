// SPDX-License-Identifier: Apache-2.0

// Package user is one simulated client of a web service: its DNS cache, its connections, its
// source address or ports, and one attempt of a request after another.
//
// The path from a name to a reply is walked here step by step, because the transports of net/http
// and of quic-go hide what is measured: they walk the addresses of a name, race families, and send
// a request again when a reused connection dies. Here one attempt
//
//  1. takes a standing connection (keep-alive) that the peer has not closed, or joins one that is
//     being opened (HTTP/2, HTTP/3), or
//  2. looks the name up (package dnsclient), takes one address of the answer, dials it once; only
//     Happy Eyeballs (RFC 8305) races several, and the sample says how many;
//  3. sends the request, and reads the reply to the last byte of its body: HTTP/1.1 with a parser
//     of its own, HTTP/2 with a single connection of net/http, HTTP/3 with one of quic-go.
//
// It ends in exactly one row of samples.parquet, whatever happened; a further attempt is made only
// when number and budget allow, with the next address, and has a row of its own. Redirects are not
// followed, proxies and compression not used.
//
// # Error classes
//
// The classes are those of package results. Those that need a line:
//
//   - dns-other: the resolver refused, answered nonsense, or could not be reached.
//   - connect-timeout, timeout, dns-timeout: which phase the attempt's one timeout ended.
//   - connect-*: of HTTP/3, what ends a handshake, which is one with that of TLS, unless it is TLS's.
//   - tls: also a server that does not agree to the protocol (ALPN).
//   - reset: the peer ended the connection (RST, FIN, GOAWAY, CONNECTION_CLOSE) before the first byte
//     of a reply, or the stream (RST_STREAM, RESET_STREAM) at any time.
//   - http: what came is no valid reply, ends early, or exceeds the limits on headers and body.
//   - other: this machine could not try (no file descriptor, no port, no memory).
package user

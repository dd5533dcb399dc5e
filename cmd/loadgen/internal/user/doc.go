// SPDX-License-Identifier: Apache-2.0

// Package user is one simulated client of a web service: its DNS cache, its connections, its
// source address, and one attempt of a request after another.
//
// The path from a name to a reply is walked here step by step, because net/http's Transport hides
// what is measured: it walks the addresses of a name, races families, and sends a request again
// when a reused connection dies. Here one attempt
//
//  1. takes a standing connection (keep-alive) that the peer has not closed, most recently used first, or
//  2. looks the name up (package dnsclient), takes one address of the answer, dials it once;
//  3. sends the request, and reads the reply with net/http's parser to the last byte of its body.
//
// It ends in exactly one row of samples.parquet, whatever happened; a further attempt is made only
// when allowed, at once, with the next address, and has a row of its own. Redirects are not
// followed, proxies and compression not used.
//
// # Error classes
//
// The classes are those of package results. Those that need a line:
//
//   - dns-other: the resolver refused, answered nonsense, or could not be reached.
//   - connect-timeout, timeout, dns-timeout: which phase the attempt's one timeout ended.
//   - reset: the peer ended the connection (RST or FIN) before the first byte of a reply.
//   - http: what came is no valid HTTP reply, ends early, or exceeds the limits on headers and body.
//   - other: this machine could not try (no file descriptor, no port, no memory).
package user

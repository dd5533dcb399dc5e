// SPDX-License-Identifier: Apache-2.0

// Package dnsclient is how clients resolve and cache names: what a stub resolver
// with a cache of its own does between an application and the recursive resolver
// of its machine.
//
// A lookup goes through these steps:
//
//  1. Cache answers from memory while an earlier answer lives. Lifetimes come from
//     the records (RFC 1035 §3.2.1, RFC 2181 §5.2 and §8, RFC 2308 §5), bent by a
//     TTL model, because not every client honours them.
//  2. Client joins a lookup of the same question that is under way (single flight),
//     else asks. Each attempt sends one query over UDP, and one more over TCP when
//     the reply is truncated (RFC 7766 §5). Nothing is sent that the caller did not
//     allow: the default is one attempt, and every query is recorded in the Result.
//     A lookup ends at its deadline; what is answered later is told, and not used.
//  3. Interpret reads the reply: it follows the CNAME chain and tells addresses from
//     NODATA and NXDOMAIN.
//  4. Order arranges the addresses as the platform would.
//
// Cache, Interpret, TTL and Order are pure: time, source addresses and randomness
// are arguments, so that a simulation lives by the same rules as a real client.
// Go's own resolver is not used because it shows no TTL and retries on its own.
package dnsclient

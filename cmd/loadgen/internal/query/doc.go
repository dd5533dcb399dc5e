// SPDX-License-Identifier: Apache-2.0

// Package query asks DNS servers one question an attempt, and times the answer.
//
// A Book holds what is asked: packed queries, drawn by a distribution. There are three ways to send them. Load gives each
// query a socket of its own, as a stub resolver does. Flow sends over UDP from few sockets and one thread, many queries in
// one system call, for rates at which the generator must cost little. Streams keeps TCP or TLS connections and has many
// queries under way on each (RFC 7766 §6.2.1.1, RFC 7858 §3.3).
//
// Of a reply only what tells a right one is read: the ID, the question, the RCODE, whether it is truncated, and whether it
// has an answer; a Judge, where there is one, is given all of it. Nothing is cached and nothing asked again.
//
// A sample's dns_ns is the time from the query to its reply, and its classes are: dns-servfail, dns-nxdomain, dns-nodata
// (NOERROR with no answer record), dns-timeout, tls, other (this machine could not try), and dns-other (another RCODE, a
// truncated or broken reply, nobody listening).
package query

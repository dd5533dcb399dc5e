// SPDX-License-Identifier: Apache-2.0

// Package server answers DNS queries over UDP, TCP and TLS from the zones of a catalog.
//
// UDP has one socket and one goroutine a core (SO_REUSEPORT). A goroutine takes up to batch datagrams with one
// recvmmsg, answers them in place, and sends the replies with one sendmmsg, from the address that each query
// was sent to. Nothing on that path allocates, locks or logs, also with rate limits and samples. TCP (RFC 7766), alone
// or below TLS (RFC 7858), has one goroutine a connection, which answers everything that has arrived before it writes.
//
// A [Responder] turns one query message into one reply and knows no sockets: header and question rules (RFC
// 1035, RFC 9619), EDNS (RFC 6891), cookies (RFC 7873, RFC 9018), extended errors (RFC 8914), client subnets (RFC
// 7871), NSID (RFC 5001). What it does not answer it counts: a message that is itself a reply, or too short to have a
// header.
//
// What needs more than a lookup (AXFR, IXFR, NOTIFY, TSIG) is handed to a [Handler], whose answers other queries of the
// same connection overtake. So are questions for names in no zone, where there is a [Forwarder].
//
// What clients can take is bounded: connections, of all and of one client, of which the longest idle give way; the time
// that a query may take to come and a reply to go; the octets of all buffers; over UDP, if asked for, the replies to one
// network ([RateLimit]). What is refused is counted; a fault is logged once, not once a packet.
package server

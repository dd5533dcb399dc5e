// SPDX-License-Identifier: Apache-2.0

// Package server answers DNS queries over UDP and TCP from the zones of a catalog.
//
// UDP has one socket and one goroutine a core (SO_REUSEPORT). A goroutine takes up to batch datagrams with one
// recvmmsg, answers them in place, and sends the replies with one sendmmsg, from the address that each query
// was sent to. Nothing on that path allocates, locks or logs. TCP (RFC 7766) has one goroutine a connection,
// which answers everything that has arrived before it writes.
//
// A [Responder] turns one query message into one reply and knows no sockets: header and question rules (RFC
// 1035, RFC 9619), EDNS (RFC 6891), cookies (RFC 7873, RFC 9018), extended errors (RFC 8914). What it does not
// answer it counts: a message that is itself a reply, or too short to have a header.
package server

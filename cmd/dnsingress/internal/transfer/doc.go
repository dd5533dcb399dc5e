// SPDX-License-Identifier: Apache-2.0

// Package transfer gives zones to other name servers and gets zones from them.
//
// A [Service] answers what the server hands over: AXFR (RFC 5936), IXFR (RFC 1995), NOTIFY (RFC 1996), and every
// query that is signed with TSIG (RFC 8945), whose reply it signs. Nobody gets a zone unless a [Policy] says so.
//
// # Out
//
// A transfer is of the zone as it was when it began, packed into messages of 16 KiB as it goes: its memory does
// not grow with the zone. Each publication is noted in a journal as the difference that it made, which costs what
// changed; IXFR is answered with the net difference, one sequence. The journal is in memory and bounded: a serial
// that it does not reach back to, as after a restart, gets the whole zone. Over UDP what does not fit one message
// is the SOA alone. Those that a policy names are told by NOTIFY, one at a time and always of the newest serial.
//
// What plain DNS cannot say is flattened (zone.Zone.Records): a name whose answers are chosen of a pool has all its
// present members, in whatever way they are chosen, with the TTL that they have now and without their weights; a
// name that exists without data, as with an empty pool, has one record of type 65281 without octets, so that
// secondaries answer NODATA as the primary does and not NXDOMAIN; TTLs of negative answers are the SOA's. A zone
// that is signed as it is answered is transferred unsigned, with its DNSKEYs: secondaries that have the keys sign it
// themselves. With Options.Signed it has signatures and a chain of NSEC records (zone.Zone.SignedRecords) and goes
// whole; such a copy is good for at least half the validity of signatures, and the next serial renews it.
//
// # In
//
// A [Secondary] is kept what its primary has: asked for its SOA after REFRESH, RETRY after a failure, and at a
// NOTIFY from a primary whose IXFR does not say it all; then IXFR, and AXFR where that fails or the zone came from another primary, for
// histories of two servers do not mix. The next primary is asked when one fails or is behind. A zone is published
// whole or not at all. After EXPIRE without a confirmation it is SERVFAIL. The cause of a row of failures is
// logged once. The connection is kept a little while for the next difference, which is read from the wire into compiled
// records. With a state directory the zone is also in a master file, which is served at once after a restart.
package transfer

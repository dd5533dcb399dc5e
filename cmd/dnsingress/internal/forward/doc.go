// SPDX-License-Identifier: Apache-2.0

// Package forward answers questions for zones that others are authoritative for, such as those of another cluster: it
// asks their servers and remembers what they say (RFC 1034 §5.3.1, RFC 2308).
//
//   - Each zone has servers in an order, or in turn. The next one is asked as soon as one fails, or has taken longer than
//     it usually does; the first good answer counts. Questions that are alike share one that is under way.
//   - Servers are probed again and again with a name that nobody else can know. One that does not answer is down until it
//     answers a probe. A probe, or a question, that comes back here shows a loop: its server is asked nothing more until a
//     probe is answered and did not come back. Questions carry, in an EDNS option, a mark for each server that they were
//     sent to, so that a loop of forwarders that leave it in place ends at the first question.
//   - When no server answers, what was known last goes on to be answered, for as long as the zone allows (RFC 8767). What
//     could not be found out is remembered for a second (RFC 9520).
//   - A reply is taken when it comes from the address asked, with its ID and question; of it, what follows from the
//     question: the chain of aliases and its end, denials, and addresses in the zone of names that these mention. All is
//     bounded: time, questions under way, octets remembered.
//
// Nothing here is validated with DNSSEC: the AD bit is never set, and signatures are handed through to those who ask for
// them.
package forward

// SPDX-License-Identifier: Apache-2.0

// Package registration lets leaves enter themselves with the upper servers of the delegation tree, and keeps what parents and
// children say of a delegation the same.
//
// # Upper
//
// A [Registry] takes DNS UPDATEs (RFC 2136) that are signed with TSIG (RFC 8945) for zones whose [Policy] grants a key
// children and names of name servers. A message adds a child's NS and DS and the addresses of the name server, all of it or
// nothing. It is a lease (RFC 9664): what is not renewed ends, by this process's monotonic clock, which neither the sender's
// clock nor the network's delay changes. Nothing else of RFC 2136 is taken.
//
// A message counts once. Of each name server the newest time of signing is known, and the signatures of that second; what is
// older, or seen before, is refused with BADTIME, and so is whatever was signed before this process began: it may be a
// replay of what the one before has taken. Senders learn the time from that reply.
//
// A child never loses its last name server by a lease that ends: that one stays, marked, for as long as KeepLast.
//
// # Leaf
//
// A [Leaf] registers zones with each of their uppers, renews, and leaves in order. A renewal is one small message however many
// zones there are: its prerequisite is the digest of what the upper should know, and where that is something else, as after
// a restart, the reply NXRRSET has all of it sent again. What the uppers then refer to, the union over those who answer, is
// what the leaf publishes as the NS of its zones: both sides are equal because one is learned from the other.
//
// A [Comparer] asks the name servers of delegations that nobody registers what they say themselves.
package registration

// SPDX-License-Identifier: Apache-2.0

// Package dnssec signs zones as they are answered from, with keys in BIND's files: ECDSA P-256 with SHA-256 (RFC 6605)
// and Ed25519 (RFC 8080).
//
// A [Signer] is one zone's. It finds a signature by the very records that it covers, owner and type included. So a
// signature is good or is not found, whatever changed in between: it outlives every publication of the zone that
// leaves its records alone, and an update costs the signatures of what it changes. [Signer.Run] makes those of new
// content in the background and again long before they expire; what a query needs earlier, and what is made
// for a query alone (expansions of wildcards, denials), is signed at once. Finding one takes no lock and allocates
// nothing.
//
// What is lasting, the zone's own, is kept as long as it is in the zone. The rest is kept in a table of fixed size, so
// that questions for names that do not exist cannot fill the memory.
//
// Times are of slots: half the validity long, and shifted by a hash of the records, so that neither all signatures are
// due at once, nor two replicas, nor a process and the one that follows it, make different ones of the same content, in
// whatever order they have it.
// ECDSA is deterministic (RFC 6979) for the same reason.
//
// Names that do not exist, and types that a name has not, are denied after RFC 9824.
package dnssec

// SPDX-License-Identifier: Apache-2.0

// Package peer exchanges pools with other clusters, each of which answers for itself: there is no coordinator, no quorum
// and no database that they share.
//
// # Out
//
// What this cluster by itself would answer names with is a private zone, CLUSTER.ZONE, which only those have who hold a
// key of it (RFC 8945): by AXFR, IXFR and signed questions, and they are told by NOTIFY when it changes. A record is a
// member, so that a change costs what changed:
//
//	zurich.peers.example.            0 SOA  INSTANCE.zurich.peers.example. IDENTITY.zurich.peers.example. SERIAL …
//	zurich.peers.example.            0 TXT  "protocol=1" "cluster=zurich" "identity=IDENTITY" "lease=5s"
//	www.shop.zurich.peers.example.   0 TXT  "pool" "ttl=5" "shards=1"
//	www.shop.zurich.peers.example.   0 TXT  "member" "address=2001:db8::7" "state=in" "reason=ready" "weight=1" "location=GEO-EU/CH" "pod=www-7"
//	mail.shop.zurich.peers.example.  0 TXT  "pool" "ttl=5" "shards=1"
//	mail.shop.zurich.peers.example.  0 TXT  "record" "type=MX" "ttl=300" "data=10%20mx.shop."
//
// IDENTITY is the cluster's own, the same on all its servers; INSTANCE is the process's, by whose serials (RFC 1982) its
// zone goes. A pool of very many members has them below _1.HOST, _2.HOST… too.
//
// # In, and leases
//
// Each server of each peer is asked for its SOA every fifth of the lease, and at its NOTIFY. A reply that is signed with
// the peer's key, belongs to the question (§5.3: the MAC covers the question's) and names the instance and the serial of
// the copy that is here confirms that copy: for the length of the lease, counted by the monotonic clock of this process
// from the instant before the question was sent. So no delay, no skewed clock and no reply of earlier times makes a lease
// longer. Another serial is followed by IXFR, another instance by AXFR, and that confirms likewise.
//
// A peer is up while one of its servers' copies is confirmed; its members count as that copy has them. When the last lease
// ends the peer is down, and the sink is told at once. What the copy held is still known, to explain it. The peer is up
// again with the first copy that is confirmed.
//
// # What is refused
//
// Counted and said in [Status]: hosts that the peer was not granted; a zone that cannot be read whole, or is of another
// protocol (the copy before counts until its lease ends); a server whose identity is ours, another peer's, or not that of
// the copy which counts for its cluster; those who ask for our zone with a wrong key or with none of its keys.
package peer

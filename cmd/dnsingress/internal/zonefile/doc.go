// SPDX-License-Identifier: Apache-2.0

// Package zonefile reads zones from master files (RFC 1035 §5, with $TTL of RFC 2308 and the $GENERATE of
// BIND) and follows their changes. Lines of the commonest shape are compiled as they are; every other entry is
// parsed by miekg/dns. To that this package adds the place of every error and goes on behind it, so that one reading
// reports them all. It keeps no more of a file in memory than a buffer and the records of one owner.
package zonefile

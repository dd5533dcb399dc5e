// SPDX-License-Identifier: Apache-2.0

// Package zonefile reads zones from master files (RFC 1035 §5, with $TTL of RFC 2308 and the $GENERATE of
// BIND) and follows their changes. The records are parsed by miekg/dns; this package adds the place of every
// error and goes on behind it, so that one reading reports them all.
package zonefile

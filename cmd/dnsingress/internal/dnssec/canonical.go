// SPDX-License-Identifier: Apache-2.0

package dnssec

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// canonical returns the records of a set as they are signed (RFC 4034 §6): in their order, none twice, owner and the
// names in the RDATA of old types in lower case, with the set's TTL.
func canonical(set zone.Signable) []byte {
	owner := set.Owner()
	rtype := set.Type()
	head := slices.Clone(owner)
	head = binary.BigEndian.AppendUint16(head, rtype)
	head = binary.BigEndian.AppendUint16(head, dns.ClassINET)
	head = binary.BigEndian.AppendUint32(head, set.TTL())
	var all [][]byte
	size := 0
	for rest := set[len(owner)+6:]; len(rest) > 0; {
		end := 2 + int(binary.BigEndian.Uint16(rest))
		rdata := slices.Clone([]byte(rest[2:end]))
		fold(rtype, rdata)
		all = append(all, rdata)
		size += len(head) + end
		rest = rest[end:]
	}
	slices.SortFunc(all, bytes.Compare)
	all = slices.CompactFunc(all, bytes.Equal)
	out := make([]byte, 0, size)
	for _, rdata := range all {
		out = append(out, head...)
		out = binary.BigEndian.AppendUint16(out, uint16(len(rdata)))
		out = append(out, rdata...)
	}
	return out
}

// fold brings the names in RDATA to lower case where RFC 4034 §6.2 wants it, without the types that RFC 6840 §5.1
// took from its list. A length octet is at most 63, below every letter.
func fold(rtype uint16, rdata []byte) {
	skip, names := 0, 1
	switch rtype {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR, dns.TypeDNAME:
	case dns.TypeSOA, dns.TypeMINFO, dns.TypeRP:
		names = 2
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeRT, dns.TypeKX:
		skip = 2
	case dns.TypePX:
		skip, names = 2, 2
	case dns.TypeSRV:
		skip = 6
	case dns.TypeNAPTR: // order, preference and three strings come before
		skip = 4
		for range 3 {
			if skip < len(rdata) {
				skip += 1 + int(rdata[skip])
			}
		}
	default:
		return
	}
	for at := skip; names > 0 && at < len(rdata); at++ {
		end := min(at+1+int(rdata[at]), len(rdata))
		if rdata[at] == 0 {
			names--
			continue
		}
		for at++; at < end; at++ {
			if c := rdata[at]; 'A' <= c && c <= 'Z' {
				rdata[at] = c | 0x20
			}
		}
		at--
	}
}

// labels counts a wire name's labels as an RRSIG has them, RFC 4034 §3.1.3: without the root and a leading asterisk.
func labels(owner []byte) uint8 {
	n := uint8(0)
	for at := 0; owner[at] != 0; at += int(owner[at]) + 1 {
		n++
	}
	if len(owner) > 1 && owner[0] == 1 && owner[1] == '*' {
		n--
	}
	return n
}

// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// endpointTypes are those that external-dns knows, in its order.
const endpointTypes = "A, AAAA, CNAME, TXT, SRV, NS, PTR, MX, NAPTR, DNAME"

// endpointType gives the type that an endpoint says.
func endpointType(text string) (rtype uint16, ok bool) {
	text = strings.ToUpper(text)
	for name := range strings.SplitSeq(endpointTypes, ", ") {
		if name == text {
			return dns.StringToType[name], true
		}
	}
	return 0, false
}

// dataError is what is wrong with a target.
type dataError struct {
	reason, text, hint string
}

func (e *dataError) Error() string {
	if e.hint == "" {
		return e.text
	}
	return e.text + " (hint: " + e.hint + ")"
}

// endpointData reads a target of an endpoint into data in presentation form, names of hosts absolute and in lower case.
// Where a name has a dot at its end is as external-dns v0.22 wants it: that of SRV and NAPTR must, those of CNAME, DNAME
// and MX may, those of NS and PTR must not.
func endpointData(rtype uint16, target string) (data string, bad *dataError) {
	if rtype == dns.TypeTXT {
		return textData(target)
	}
	if target = strings.TrimSpace(target); target == "" {
		return "", &dataError{record.InvalidRecord, "the target is empty", ""}
	}
	switch rtype {
	case dns.TypeA, dns.TypeAAAA:
		return addressData(rtype, target)
	case dns.TypeCNAME, dns.TypeDNAME:
		return nameData(rtype, target)
	case dns.TypeNS, dns.TypePTR:
		if bare := strings.TrimSuffix(target, "."); bare != target {
			return "", &dataError{record.InvalidRecord, fmt.Sprintf("%s target %q has a dot at its end", dns.Type(rtype), target), bare}
		}
		return nameData(rtype, target)
	case dns.TypeMX:
		return mxData(target)
	case dns.TypeSRV:
		return srvData(target)
	}
	return naptrData(target)
}

func addressData(rtype uint16, target string) (string, *dataError) {
	a, err := netip.ParseAddr(target)
	switch {
	case err != nil || a.Zone() != "" || a.Is4In6():
		hint := "such as 192.0.2.1"
		if rtype == dns.TypeAAAA {
			hint = "such as 2001:db8::1"
		}
		if bare, dot := strings.CutSuffix(target, "."); dot && validAddress(bare) {
			hint = bare
		} else if hostname(target) {
			hint = "recordType CNAME"
		}
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("%s target %q is no address", dns.Type(rtype), target), hint}
	case a.Is4() && rtype == dns.TypeAAAA:
		return "", &dataError{record.WrongFamily, fmt.Sprintf("AAAA target %s is an IPv4 address", target), "recordType A"}
	case a.Is6() && rtype == dns.TypeA:
		return "", &dataError{record.WrongFamily, fmt.Sprintf("A target %s is an IPv6 address", target), "recordType AAAA"}
	}
	return a.String(), nil
}

func validAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// nameData reads the name of a host. That of a PTR may be of any letters: it may be of a service (RFC 6763 §4.1).
func nameData(rtype uint16, target string) (string, *dataError) {
	what := dns.Type(rtype).String() + " target"
	if a, err := netip.ParseAddr(strings.TrimSuffix(target, ".")); err == nil {
		hint := "the name of a host"
		if rtype == dns.TypeCNAME {
			hint = "recordType A"
			if a.Is6() {
				hint = "recordType AAAA"
			}
		}
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("%s %q is an address", what, target), hint}
	}
	name := dns.CanonicalName(target)
	ok := hostname(target) && !strings.HasPrefix(target, "*.")
	if rtype == dns.TypePTR && !ok {
		rr, err := record.Parse(".", rtype, 0, name)
		if ptr, is := rr.(*dns.PTR); err == nil && is && ptr.Ptr != "." && !strings.ContainsAny(name, " \t;()\"") {
			return name, nil
		}
	}
	if !ok {
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("%s %q is no host name", what, target), "letters, digits and hyphens between dots, at most 63 bytes each"}
	}
	return name, nil
}

func mxData(target string) (string, *dataError) {
	f := strings.Fields(target)
	if len(f) != 2 {
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("MX target %q is not a preference and a host", target), "10 mail.example.org"}
	}
	preference, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil {
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("MX target %q: %q is no preference", target, f[0]), "0 to 65535"}
	}
	if f[1] == "." { // no mail is taken: RFC 7505
		return fmt.Sprintf("%d .", preference), nil
	}
	host, bad := nameData(dns.TypeMX, f[1])
	if bad != nil {
		return "", bad
	}
	return fmt.Sprintf("%d %s", preference, host), nil
}

func srvData(target string) (string, *dataError) {
	f := strings.Fields(target)
	if len(f) != 4 {
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("SRV target %q is not priority, weight, port and host", target), "10 5 5060 sip.example.org."}
	}
	var numbers [3]uint64
	for i, what := range []string{"priority", "weight", "port"} {
		var err error
		if numbers[i], err = strconv.ParseUint(f[i], 10, 16); err != nil {
			return "", &dataError{record.InvalidRecord, fmt.Sprintf("SRV target %q: %q is no %s", target, f[i], what), "0 to 65535"}
		}
	}
	if !strings.HasSuffix(f[3], ".") {
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("SRV target %q does not end with a dot", target), strings.Join(f, " ") + "."}
	}
	host := "." // the service is not there: RFC 2782
	if f[3] != "." {
		var bad *dataError
		if host, bad = nameData(dns.TypeSRV, f[3]); bad != nil {
			return "", bad
		}
	}
	return fmt.Sprintf("%d %d %d %s", numbers[0], numbers[1], numbers[2], host), nil
}

// naptrData reads order, preference, flags, service, expression and replacement (RFC 3403 §4.1).
func naptrData(target string) (string, *dataError) {
	const form = `100 10 "s" "SIP+D2U" "" _sip._udp.example.org.`
	if !strings.HasSuffix(target, ".") {
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("NAPTR target %q does not end with a dot", target), target + "."}
	}
	rr, err := record.Parse(".", dns.TypeNAPTR, 0, target)
	naptr, ok := rr.(*dns.NAPTR)
	if err != nil || !ok || strings.ContainsAny(target, "\r\n") {
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("NAPTR target %q cannot be read", target), form}
	}
	if naptr.Replacement != "." && !hostname(naptr.Replacement) {
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("NAPTR target %q: %q is no host name", target, naptr.Replacement), form}
	}
	naptr.Replacement = dns.CanonicalName(naptr.Replacement)
	return strings.TrimPrefix(naptr.String(), naptr.Hdr.String()), nil
}

// mostText is how long a text may be: with owner and header it fits a message.
const mostText = 60000

// textData makes strings of at most 255 octets of a text. One in quotation marks is read as in a zone file, where it may
// be several.
func textData(target string) (string, *dataError) {
	var chunks []string
	trimmed := strings.TrimSpace(target)
	switch {
	case len(target) > mostText:
		return "", &dataError{record.InvalidRecord, fmt.Sprintf("TXT target is of %d octets", len(target)), fmt.Sprintf("at most %d", mostText)}
	case len(trimmed) > 1 && strings.HasPrefix(trimmed, `"`) && strings.HasSuffix(trimmed, `"`):
		rr, err := record.Parse(".", dns.TypeTXT, 0, trimmed)
		txt, ok := rr.(*dns.TXT)
		if err != nil || !ok {
			return "", &dataError{record.InvalidRecord, fmt.Sprintf("TXT target %.60q cannot be read", target), `without the quotation marks, or "one" "two"`}
		}
		return strings.TrimPrefix(txt.String(), txt.Hdr.String()), nil
	}
	for rest := target; ; {
		n := min(len(rest), 255)
		chunks = append(chunks, quote(rest[:n]))
		if rest = rest[n:]; rest == "" {
			return strings.Join(chunks, " "), nil
		}
	}
}

// quote writes a character string of RFC 1035 §5.1.
func quote(s string) string {
	b := []byte{'"'}
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = fmt.Appendf(b, "\\%03d", c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

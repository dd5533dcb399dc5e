// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"strings"

	"github.com/miekg/dns"
)

// Read returns what a reply says of a name: its data of the type, canonical and in presentation form, along the chain of
// CNAMEs. Silent is a reply that says nothing of it: none, one that does not parse, an error, a truncated one.
func Read(wire []byte, qtype uint16) (data []string, silent bool) {
	var m dns.Msg
	if wire == nil || m.Unpack(wire) != nil || m.Truncated {
		return nil, true
	}
	switch m.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return nil, false
	default:
		return nil, true
	}
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == qtype {
			data = append(data, Data(rr))
		}
	}
	return data, false
}

// Data returns a record's data in presentation form, names in lower case, so that equal data is equal text.
func Data(rr dns.RR) string {
	text := strings.TrimPrefix(rr.String(), rr.Header().String())
	switch rr.Header().Rrtype {
	case dns.TypeTXT, dns.TypeSPF:
		return text
	}
	return strings.ToLower(text)
}

// ParseData reads data in presentation form, and returns it as Data does.
func ParseData(qtype uint16, text string) (string, error) {
	rr, err := dns.NewRR(". 0 IN " + dns.TypeToString[qtype] + " " + text)
	if err != nil {
		return "", err
	}
	return Data(rr), nil
}

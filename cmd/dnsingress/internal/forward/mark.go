// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/miekg/dns"
)

const (
	// optionPath is the EDNS option that says which servers a question was sent to, of those for local use (RFC 6891
	// §9): a mark for each, the first first.
	optionPath = 65313
	markLen    = 8
	// mostHops is how many forwarders a question may come through.
	mostHops = 8
	// probeLabel begins the first label of a probe, which ends in 32 hexadecimal digits.
	probeLabel = "dnsingress-probe-"
	probeLen   = len(probeLabel) + 32
)

// mark stands for one server of one zone of one process. It is random, so that only those on the way of a question to that
// server can know it: nobody can make another one look like a loop.
type mark [markLen]byte

func newMark() (m mark) {
	_, _ = rand.Read(m[:]) // it never fails: it ends the process
	return m
}

// pathOf returns the marks that a query carries; nil: it came through no forwarder that leaves one.
func pathOf(query *dns.Msg) []mark {
	o := query.IsEdns0()
	if o == nil {
		return nil
	}
	for _, option := range o.Option {
		if l, ok := option.(*dns.EDNS0_LOCAL); ok && l.Code == optionPath {
			marks := make([]mark, len(l.Data)/markLen)
			for i := range marks {
				copy(marks[i][:], l.Data[i*markLen:])
			}
			return marks
		}
	}
	return nil
}

// newProbe returns a name below a zone that nobody has asked for.
func newProbe(zone string) string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return probeLabel + hex.EncodeToString(b[:]) + "." + strings.TrimPrefix(zone, ".")
}

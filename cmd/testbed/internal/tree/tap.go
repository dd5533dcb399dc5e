// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	dnstap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Asked is a question as a server's dnstap tells of it.
type Asked struct {
	By    netip.Addr
	Query results.Query // without Level, Server and Client
}

// ReadTap calls visit for each question in a frame stream of dnstap messages, in its order. A frame that was cut short ends
// it without an error: the server is about to write the rest.
func ReadTap(r io.Reader, visit func(Asked)) error {
	frames, err := framestream.NewReader(r, &framestream.ReaderOptions{ContentTypes: [][]byte{dnstap.FSContentType}})
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading dnstap: %w", err)
	}
	frame := make([]byte, maxFrame)
	for {
		n, err := frames.ReadFrame(frame)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading dnstap: %w", err)
		}
		a, err := parseTap(frame[:n])
		if err != nil {
			return fmt.Errorf("parsing dnstap: %w", err)
		}
		visit(a)
	}
}

// maxFrame holds a query and a reply of the greatest length, and what dnstap says of them.
const maxFrame = 2<<16 + 1<<10

func parseTap(frame []byte) (Asked, error) {
	var tap dnstap.Dnstap
	if err := proto.Unmarshal(frame, &tap); err != nil {
		return Asked{}, err
	}
	m := tap.GetMessage()
	by, ok := netip.AddrFromSlice(m.GetQueryAddress())
	if !ok {
		return Asked{}, fmt.Errorf("%d bytes are no address", len(m.GetQueryAddress()))
	}
	q := results.Query{
		AtNs:  int64(m.GetQueryTimeSec())*1e9 + int64(m.GetQueryTimeNsec()),
		Proto: strings.ToLower(m.GetSocketProtocol().String()),
	}
	var asked, reply dns.Msg
	// What a client sent need not be a DNS message; that it was asked counts all the same.
	if err := asked.Unpack(m.GetQueryMessage()); err == nil && len(asked.Question) == 1 {
		q.Name, q.Type = strings.ToLower(asked.Question[0].Name), dns.TypeToString[asked.Question[0].Qtype]
	}
	if len(m.GetResponseMessage()) > 0 {
		if err := reply.Unpack(m.GetResponseMessage()); err != nil {
			return Asked{}, fmt.Errorf("a reply: %w", err)
		}
		q.Rcode = dns.RcodeToString[reply.Rcode]
		var addresses []string
		for _, rr := range reply.Answer {
			switch rr := rr.(type) {
			case *dns.AAAA:
				addresses = append(addresses, rr.AAAA.String())
			case *dns.A:
				addresses = append(addresses, rr.A.String())
			}
		}
		q.Addresses = strings.Join(addresses, ",")
	}
	return Asked{by.Unmap(), q}, nil
}

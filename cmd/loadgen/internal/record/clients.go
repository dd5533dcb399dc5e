// SPDX-License-Identifier: Apache-2.0

package record

import (
	"maps"

	"github.com/dnsingress/dnsingress/internal/results"
)

// maxNames is how many names of requests are counted apart.
const maxNames = 256

// Clients is what clients did to get to their replies: of the window, over all attempts.
type Clients struct {
	DNSQueries    uint64 `json:"dns_queries"`
	DNSLate       uint64 `json:"dns_late"`       // attempts whose lookup was answered after its deadline
	Connections   uint64 `json:"connections"`    // begun, races included
	RetriesDenied uint64 `json:"retries_denied"` // by the budget

	Protocols map[string]uint64    `json:"protocols,omitempty"`  // attempts by protocol
	ByRequest map[string]ByRequest `json:"by_request,omitempty"` // of a mix, by name
}

// ByRequest is what became of the requests of one name.
type ByRequest struct {
	Requests  uint64 `json:"requests"`
	Succeeded uint64 `json:"succeeded"`
}

// add takes an attempt.
func (c *Clients) add(s *results.Sample, last bool) {
	c.DNSQueries += uint64(s.DNSQueries)
	c.Connections += uint64(s.Connects)
	if s.DNSLateNs > 0 {
		c.DNSLate++
	}
	if s.RetryDenied {
		c.RetriesDenied++
	}
	if s.Protocol != "" {
		if c.Protocols == nil {
			c.Protocols = map[string]uint64{}
		}
		c.Protocols[s.Protocol]++
	}
	if s.Request == "" || !last {
		return
	}
	if c.ByRequest == nil {
		c.ByRequest = map[string]ByRequest{}
	}
	if r, known := c.ByRequest[s.Request]; known || len(c.ByRequest) < maxNames {
		r.Requests++
		if s.OK() {
			r.Succeeded++
		}
		c.ByRequest[s.Request] = r
	}
}

// merge adds what another generator's clients did.
func (c *Clients) merge(o Clients) {
	c.DNSQueries, c.DNSLate = c.DNSQueries+o.DNSQueries, c.DNSLate+o.DNSLate
	c.Connections, c.RetriesDenied = c.Connections+o.Connections, c.RetriesDenied+o.RetriesDenied
	own := c.clone()
	for name, n := range o.Protocols {
		if own.Protocols == nil {
			own.Protocols = map[string]uint64{}
		}
		own.Protocols[name] += n
	}
	for name, r := range o.ByRequest {
		if own.ByRequest == nil {
			own.ByRequest = map[string]ByRequest{}
		}
		sum := own.ByRequest[name]
		sum.Requests, sum.Succeeded = sum.Requests+r.Requests, sum.Succeeded+r.Succeeded
		own.ByRequest[name] = sum
	}
	*c = own
}

func (c *Clients) clone() Clients {
	own := *c
	own.Protocols, own.ByRequest = maps.Clone(c.Protocols), maps.Clone(c.ByRequest)
	return own
}

// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// protocol is the version of what the zones hold. Texts that are added to records do not change it: who does not know them
// passes them over.
const protocol = 1

// mostText is how long one text of a record may be, RFC 1035 §3.3.
const mostText = 255

// apex is what a cluster says of itself.
type apex struct {
	cluster  string
	identity string
	lease    time.Duration
}

func (a apex) texts() []string {
	return []string{"protocol=" + strconv.Itoa(protocol), "cluster=" + a.cluster, "identity=" + a.identity, "lease=" + a.lease.String()}
}

func readApex(texts []string) (a apex, err error) {
	v := values(texts)
	if got := v["protocol"]; got != strconv.Itoa(protocol) {
		return a, fmt.Errorf("its protocol is %q, and this is %d (hint: the same version of dnsingress in all clusters)", got, protocol)
	}
	a.cluster, a.identity = v["cluster"], v["identity"]
	if a.cluster == "" || a.identity == "" {
		return a, fmt.Errorf("its apex names no cluster, or no identity")
	}
	if a.lease, err = time.ParseDuration(v["lease"]); err != nil || a.lease <= 0 {
		return a, fmt.Errorf("its lease is %q", v["lease"])
	}
	return a, nil
}

// head is what a pool's record says.
type head struct {
	ttl    uint32
	shards int
}

func (h head) texts() []string {
	return []string{"pool", "ttl=" + strconv.FormatUint(uint64(h.ttl), 10), "shards=" + strconv.Itoa(h.shards)}
}

func readHead(texts []string) (h head, err error) {
	v := values(texts)
	ttl, err := strconv.ParseUint(v["ttl"], 10, 31) // RFC 2181 §8
	if err != nil {
		return h, fmt.Errorf("ttl %q of a pool is no TTL", v["ttl"])
	}
	shards, err := strconv.Atoi(v["shards"])
	if err != nil || shards < 1 || shards > mostShards {
		return h, fmt.Errorf("shards %q of a pool is no number of parts", v["shards"])
	}
	return head{uint32(ttl), shards}, nil
}

// state is that of a member, in words.
func state(m *model.SharedMember) string {
	switch {
	case !m.In:
		return "out"
	case m.Resort:
		return "resort"
	}
	return "in"
}

func memberTexts(m *model.SharedMember) []string {
	texts := []string{"member", "address=" + m.Address.String(), "state=" + state(m), "reason=" + plain(m.Reason)}
	if m.In {
		texts = append(texts, "weight="+strconv.FormatFloat(m.Weight, 'g', -1, 64))
	}
	if m.Location != "" {
		texts = append(texts, "location="+plain(m.Location))
	}
	if m.Pod != "" {
		texts = append(texts, "pod="+plain(m.Pod))
	}
	return texts
}

func readMember(texts []string) (m model.SharedMember, err error) {
	v := values(texts)
	if m.Address, err = netip.ParseAddr(v["address"]); err != nil || m.Address.Zone() != "" || m.Address.Is4In6() {
		return m, fmt.Errorf("address %q of a member is no address", v["address"])
	}
	switch v["state"] {
	case "in":
		m.In = true
	case "resort":
		m.In, m.Resort = true, true
	case "out":
	default:
		return m, fmt.Errorf("state %q of %s is unknown", v["state"], m.Address)
	}
	m.Reason, m.Location, m.Pod = v["reason"], v["location"], v["pod"]
	if !m.In {
		return m, nil
	}
	if m.Weight, err = strconv.ParseFloat(v["weight"], 64); err != nil || !(m.Weight > 0) || m.Weight > mostMembers { // the average is 1
		return m, fmt.Errorf("weight %q of %s is no weight", v["weight"], m.Address)
	}
	return m, nil
}

// values are the texts with a key.
func values(texts []string) map[string]string {
	v := make(map[string]string, len(texts))
	for _, t := range texts {
		if key, value, ok := strings.Cut(t, "="); ok {
			v[key] = value
		}
	}
	return v
}

// plain leaves out what a text cannot hold as it is, and what is too long for one with its key.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), mostText-len("location="))]
}

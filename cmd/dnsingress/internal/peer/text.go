// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
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

// recordTexts are a record of a set that an object writes down.
func recordTexts(s *model.RecordSet, r *model.Record) []string {
	texts := []string{"record", "type=" + dns.Type(s.Type).String(), "ttl=" + strconv.FormatUint(uint64(*s.TTL), 10)}
	if s.Stable {
		texts = append(texts, "stable=true")
	}
	if r.Geo != "" {
		texts = append(texts, spelled("geo", r.Geo)...)
	}
	if r.Weight != nil {
		texts = append(texts, "weight="+strconv.FormatUint(uint64(*r.Weight), 10))
	}
	if r.Set != "" {
		texts = append(texts, spelled("set", r.Set)...)
	}
	return append(texts, spelled("data", r.Data)...)
}

// readRecord reads a record, and what is said of the set that it belongs to.
func readRecord(texts []string) (s model.RecordSet, err error) {
	v := values(texts)
	var r model.Record
	var ok bool
	if s.Type, ok = record.ParseType(v["type"]); !ok || s.Type == dns.TypeNone || s.Type == dns.TypeReserved {
		return s, fmt.Errorf("type %q of a record is no type", v["type"])
	}
	ttl, err := strconv.ParseUint(v["ttl"], 10, 31) // RFC 2181 §8
	if err != nil {
		return s, fmt.Errorf("ttl %q of a record is no TTL", v["ttl"])
	}
	seconds := uint32(ttl)
	s.TTL, s.Stable = &seconds, v["stable"] == "true"
	if text, given := v["weight"]; given {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return s, fmt.Errorf("weight %q of a record is no weight", text)
		}
		weight := uint32(n)
		r.Weight = &weight
	}
	for key, to := range map[string]*string{"geo": &r.Geo, "set": &r.Set, "data": &r.Data} {
		if *to, err = spelling(texts, key); err != nil {
			return s, fmt.Errorf("%s of a record: %w", key, err)
		}
	}
	s.Records = []model.Record{r}
	return s, nil
}

// spelled are texts with a key that hold any value together: percent-encoded (RFC 3986 §2.1), in parts that a text can hold.
func spelled(key, value string) []string {
	value = url.PathEscape(value)
	most := mostText - len(key) - len("=")
	var texts []string
	for len(value) > most {
		texts = append(texts, key+"="+value[:most])
		value = value[most:]
	}
	return append(texts, key+"="+value)
}

// spelling is the value that spelled was given.
func spelling(texts []string, key string) (string, error) {
	var b strings.Builder
	for _, t := range texts {
		if part, ok := strings.CutPrefix(t, key+"="); ok {
			b.WriteString(part)
		}
	}
	return url.PathUnescape(b.String())
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

// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

// recordTypes are those that a DNSEndpoint may have.
var recordTypes = []string{"A", "AAAA", "CNAME", "TXT", "SRV", "NS", "PTR", "MX", "NAPTR", "DNAME"}

// mostProblems are told of one body.
const mostProblems = 20

// key tells endpoints apart.
type key struct{ name, rtype, set string }

func keyOf(e *externaldns.Endpoint) key {
	return key{dns.CanonicalName(e.DNSName), strings.ToUpper(e.RecordType), e.SetIdentifier}
}

// decode reads one JSON value and nothing behind it. Keys that are not known may come with later releases, which call
// the media type the same.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(into); err != nil {
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			return fmt.Errorf("reading JSON at octet %d: %w", syntax.Offset, err)
		case errors.As(err, &kind):
			return fmt.Errorf("reading JSON at octet %d: %s is a %s", kind.Offset, kind.Field, kind.Value)
		case errors.Is(err, io.EOF):
			return errors.New("reading JSON: the body is empty")
		}
		return fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading JSON: there is more behind the value, from octet %d", d.InputOffset())
	}
	return nil
}

// readEndpoints reads what external-dns would like to have. Those that could not be written are left out and told of:
// that external-dns never asks for them keeps the others from waiting for them.
func readEndpoints(data []byte) (good []*externaldns.Endpoint, bad, err error) {
	var all []*externaldns.Endpoint
	if err := decode(data, &all); err != nil {
		return nil, nil, err
	}
	var problems problems
	good = make([]*externaldns.Endpoint, 0, len(all))
	for i, e := range all {
		if problems.endpoint(fmt.Sprintf("[%d]", i), e) {
			good = append(good, e)
		}
	}
	return good, problems.err(), nil
}

// readChanges reads a batch and checks all of it before any is written: that names can be names, that there is data to
// each, and that what is written lies in the zones. What the data says is not looked at: a DNSEndpoint whose records
// cannot be published says so in its status, and keeps no other from being published.
func (z zones) readChanges(data []byte) (*externaldns.Changes, error) {
	var c externaldns.Changes
	if err := decode(data, &c); err != nil {
		return nil, err
	}
	var problems problems
	if n, o := len(c.UpdateNew), len(c.UpdateOld); n != o {
		problems.add("updateOld has %d endpoints and updateNew %d (hint: one each)", o, n)
	}
	at := map[key]*externaldns.Endpoint{}
	for _, list := range []struct {
		name      string
		endpoints []*externaldns.Endpoint
		written   bool
	}{{"create", c.Create, true}, {"updateNew", c.UpdateNew, true}, {"updateOld", c.UpdateOld, false}, {"delete", c.Delete, false}} {
		for i, e := range list.endpoints {
			where := fmt.Sprintf("%s[%d]", list.name, i)
			if !list.written {
				problems.name(where, e) // what goes may be as wrong as it likes
				continue
			}
			if !problems.endpoint(where, e) {
				continue
			}
			if !z.has(e.DNSName) && !note(e) {
				problems.add("%s: %s lies outside of the zones %s (hint: dnsingress webhook --zone, or external-dns --domain-filter)", where, e.DNSName, strings.Join(z, ", "))
			}
			if other := at[keyOf(e)]; other != nil && !reflect.DeepEqual(other, e) {
				problems.add("%s: %s %s %s is written twice, and differently", where, e.DNSName, e.RecordType, e.SetIdentifier)
			}
			at[keyOf(e)] = e
		}
	}
	return &c, problems.err()
}

// note reports whether an endpoint may be one by which external-dns remembers who owns another: of the apex of a zone
// it makes a name beside the zone. Such a one is kept and not published.
func note(e *externaldns.Endpoint) bool { return strings.EqualFold(e.RecordType, "TXT") }

// problems are what is wrong with a body.
type problems struct {
	texts []string
	more  int
}

func (p *problems) add(format string, a ...any) {
	if len(p.texts) == mostProblems {
		p.more++
		return
	}
	p.texts = append(p.texts, fmt.Sprintf(format, a...))
}

func (p *problems) err() error {
	if len(p.texts) == 0 {
		return nil
	}
	if p.more > 0 {
		return fmt.Errorf("%s\nand %d more", strings.Join(p.texts, "\n"), p.more)
	}
	return errors.New(strings.Join(p.texts, "\n"))
}

// name checks what an endpoint is known by.
func (p *problems) name(where string, e *externaldns.Endpoint) bool {
	if e == nil {
		p.add("%s is null", where)
		return false
	}
	if _, ok := dns.IsDomainName(e.DNSName); !ok || e.DNSName == "" || strings.Trim(e.DNSName, ".") == "" {
		p.add("%s.dnsName: %.300q is no domain name", where, e.DNSName)
		return false
	}
	if e.RecordType == "" {
		p.add("%s.recordType is missing", where)
		return false
	}
	return true
}

// endpoint checks what is to be written.
func (p *problems) endpoint(where string, e *externaldns.Endpoint) bool {
	if !p.name(where, e) {
		return false
	}
	before := len(p.texts) + p.more
	if !slices.Contains(recordTypes, strings.ToUpper(e.RecordType)) {
		p.add("%s.recordType: %s: %.60q is unknown (hint: one of %s)", where, e.DNSName, e.RecordType, strings.Join(recordTypes, ", "))
	}
	if len(e.Targets) == 0 {
		p.add("%s.targets: %s %s has none", where, e.DNSName, e.RecordType)
	}
	if e.RecordTTL < 0 || e.RecordTTL > math.MaxInt32 { // RFC 2181 §8
		p.add("%s.recordTTL: %s %s: %d is no TTL (hint: seconds; 0: the zone's)", where, e.DNSName, e.RecordType, e.RecordTTL)
	}
	return len(p.texts)+p.more == before
}

// zones are the names at and below which may be written, without the dot at the end.
type zones []string

// CheckZone says why a name cannot be one of Options.Zones, or nil.
func CheckZone(name string) error {
	if _, ok := dns.IsDomainName(name); !ok || strings.Trim(name, ".") == "" || strings.ContainsAny(name, " \t*\\\"") {
		return fmt.Errorf("%q is no zone (hint: such as apps.example.org)", name)
	}
	return nil
}

// newZones reads them.
func newZones(names []string) (zones, error) {
	var z zones
	for _, name := range names {
		if err := CheckZone(name); err != nil {
			return nil, err
		}
		z = append(z, strings.TrimSuffix(dns.CanonicalName(name), "."))
	}
	slices.Sort(z)
	return slices.Compact(z), nil
}

func (z zones) has(name string) bool {
	return slices.ContainsFunc(z, func(zone string) bool { return dns.IsSubDomain(zone+".", dns.CanonicalName(name)) })
}

// publishes reports whether an endpoint is meant to be answered: others are but notes of external-dns.
func (z zones) publishes(e *externaldns.Endpoint) bool {
	return !note(e) || z.has(e.DNSName) && !strings.Contains(strings.TrimPrefix(e.DNSName, "*."), "*")
}

// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// Properties of endpoints that are understood, beside alias. The first names are today's.
var (
	weightProperties      = []string{"weight", "aws/weight"}
	geoProperties         = []string{"geo-code", "geo-country-code", "geolocation-country-code", "aws/geolocation-country-code"}
	continentProperties   = []string{"aws/geolocation-continent-code", "geo-continent-code", "geolocation-continent-code"}
	subdivisionProperties = []string{"aws/geolocation-subdivision-code"}
	// Choices between answers that are not made here.
	foreignProperties = []string{"aws/failover", "aws/region", "aws/geoproximity-region", "aws/geoproximity-bias", "aws/geoproximity-coordinates", "aws/geoproximity-local-zone-group"}
)

// endpointReader collects the record sets of endpoints.
type endpointReader struct {
	stable   bool
	aliasTTL *uint32 // of CNAME records that do not say theirs; nil: the zone's default
	otherTTL *uint32 // of all others

	sets     []model.RecordSet
	at       map[setKey]int    // in sets
	paths    map[setKey]string // of the first endpoint of a set
	problems []model.Problem
}

// setKey is what an object has one record set of.
type setKey struct {
	name  string
	rtype uint16
}

func (r *endpointReader) problem(reason, path, format string, a ...any) {
	r.problems = append(r.problems, model.Problem{Reason: reason, Path: path, Message: fmt.Sprintf(format, a...)})
}

// read adds the records of an endpoint, as far as they can be read. What cannot be is a problem, in which path leads to
// the endpoint.
func (r *endpointReader) read(e *externaldns.Endpoint, path string) {
	what := e.DNSName + " " + e.RecordType
	if e.DNSName == "" || !hostname(e.DNSName) {
		r.problem(record.InvalidName, path+".dnsName", "%q is no host name (hint: letters, digits and hyphens between dots, at most 63 bytes each; * only as the first label)", e.DNSName)
		return
	}
	rtype, ok := endpointType(e.RecordType)
	if !ok {
		r.problem(record.InvalidRecord, path+".recordType", "%s: %q is no record type of endpoints (hint: one of %s)", e.DNSName, e.RecordType, endpointTypes)
		return
	}
	set := model.RecordSet{Name: dns.CanonicalName(e.DNSName), Type: rtype, Stable: r.stable, TTL: r.otherTTL}
	if rtype == dns.TypeCNAME {
		set.TTL = r.aliasTTL
	}
	switch {
	case e.RecordTTL < 0 || e.RecordTTL > math.MaxInt32: // RFC 2181 §8
		r.problem(record.InvalidTTL, path+".recordTTL", "%s: %d is no TTL (hint: seconds, such as 300)", what, e.RecordTTL)
	case e.RecordTTL > 0:
		ttl := uint32(e.RecordTTL)
		set.TTL = &ttl
	}
	of, ok := r.option(e, what, path)
	if !ok {
		return
	}
	alias, value := e.Property("alias")
	if len(e.Targets) == 0 {
		r.problem(record.InvalidRecord, path, "%s has no targets", what)
		return
	}
	aliased := alias != "" && value != "false" && slices.Contains([]uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME}, rtype)
	if (rtype == dns.TypeCNAME || rtype == dns.TypeDNAME) && len(e.Targets) > 1 && !aliased {
		r.problem(record.InvalidRecord, path+".targets", "%s has %d targets, of which an answer can hold but one (hint: an endpoint and a setIdentifier for each)", what, len(e.Targets))
		return
	}
	for i, target := range e.Targets {
		if aliased && r.follow(set, of, value, target) {
			continue
		}
		data, bad := endpointData(rtype, target)
		if bad != nil {
			r.problem(bad.reason, fmt.Sprintf("%s.targets[%d]", path, i), "%s: %s", e.DNSName, bad)
			continue
		}
		one := of
		one.Data = data
		r.add(set, one, path)
	}
}

// follow adds what an alias of a provider is, addresses of a host name in its place, and reports whether it is one.
func (r *endpointReader) follow(set model.RecordSet, of model.Record, value, target string) bool {
	name, bad := nameData(dns.TypeCNAME, target)
	if bad != nil {
		return false
	}
	of.Follow = name
	families := []uint16{dns.TypeA, dns.TypeAAAA}
	switch {
	case set.Type != dns.TypeCNAME:
		families = []uint16{set.Type}
	case value == "A" || value == "AAAA":
		families = []uint16{dns.StringToType[value]}
	}
	for _, set.Type = range families {
		r.add(set, of, "")
	}
	return true
}

func (r *endpointReader) add(set model.RecordSet, of model.Record, path string) {
	k := setKey{set.Name, set.Type}
	i, ok := r.at[k]
	if !ok {
		if r.at == nil {
			r.at, r.paths = map[setKey]int{}, map[setKey]string{}
		}
		i = len(r.sets)
		r.at[k], r.paths[k] = i, path
		r.sets = append(r.sets, set)
	}
	if have := &r.sets[i]; have.TTL == nil || set.TTL != nil && *set.TTL < *have.TTL { // RFC 2181 §5.2
		have.TTL = set.TTL
	}
	r.sets[i].Records = append(r.sets[i].Records, of)
}

// option reads who an endpoint is for, and how often.
func (r *endpointReader) option(e *externaldns.Endpoint, what, path string) (of model.Record, ok bool) {
	of.Set, ok = e.SetIdentifier, true
	at := func(name string) string {
		i := slices.IndexFunc(e.ProviderSpecific, func(p externaldns.Property) bool { return p.Name == name })
		return fmt.Sprintf("%s.providerSpecific[%d].value", path, i)
	}
	if name, value := e.Property(weightProperties...); name != "" {
		w, err := strconv.ParseInt(value, 10, 64)
		if err != nil || w < 0 || w > math.MaxUint32 {
			r.problem("InvalidWeight", at(name), "%s: %s %q is no weight (hint: a whole number, 0 or more)", what, name, value)
			return of, false
		}
		weight := uint32(w)
		of.Weight = &weight
		if of.Set == "" && len(e.Targets) > 0 {
			of.Set = strings.TrimSuffix(e.Targets[0], ".")
		}
	}
	name, value := e.Property(geoProperties...)
	if sub, part := e.Property(subdivisionProperties...); sub != "" {
		name, value = sub, value+"-"+part
	}
	if name == "" {
		if name, value = e.Property(continentProperties...); name != "" {
			value = "GEO-" + strings.TrimPrefix(strings.ToUpper(value), "GEO-")
		}
	}
	if name != "" {
		code, err := geo.Parse(value)
		if err != nil {
			r.problem(record.UnknownGeo, at(name), "%s: %v", what, err)
			return of, false
		}
		of.Geo = code
	}
	if name, value := e.Property(foreignProperties...); name != "" {
		r.problems = append(r.problems, model.Problem{Reason: "UnsupportedProperty", Path: at(name), Notice: true, Message: fmt.Sprintf(
			"%s: %s %q is not understood; the records are published as if it was not there (hint: weight and geo-code are)", what, name, value)})
	}
	return of, true
}

// alone takes out the CNAME sets that have something beside them.
func (r *endpointReader) alone() {
	others := map[string][]string{}
	for _, s := range r.sets {
		if s.Type != dns.TypeCNAME {
			others[s.Name] = append(others[s.Name], dns.Type(s.Type).String())
		}
	}
	r.sets = slices.DeleteFunc(r.sets, func(s model.RecordSet) bool {
		if s.Type != dns.TypeCNAME || others[s.Name] == nil {
			return false
		}
		slices.Sort(others[s.Name])
		r.problem(record.CNAMEConflict, r.paths[setKey{s.Name, s.Type}], "%s: a CNAME is not published beside other data, here %s (RFC 1034 §3.6.2) (hint: either the CNAME or the others)",
			s.Name, strings.Join(others[s.Name], ", "))
		return true
	})
	r.at = nil
}

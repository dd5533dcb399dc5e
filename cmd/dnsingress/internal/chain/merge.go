// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Conflict is a record that is left out because it does not go together with another at its name.
type Conflict struct {
	Part   int // which of the parts it is of
	Name   string
	Type   uint16
	Record model.Record
	// Beside is the type of what it cannot stand beside: CNAME, for any other record; or, where that is its own type,
	// one with other data or another weight for the same clients.
	Beside uint16
}

// Merge joins the parts that several objects have of the same names: records that differ stand together, those that say
// the same count once. Where two cannot stand together the one of the earlier part stays.
func Merge(parts ...[]model.RecordSet) (sets []model.RecordSet, conflicts []Conflict) {
	t := table{}
	aliases, others := map[string]bool{}, map[string]uint16{} // names with a CNAME, and with something else
	for part, of := range parts {
		for _, s := range of {
			for _, r := range s.Records {
				if beside := t.bars(s, r, aliases, others); beside != 0 {
					conflicts = append(conflicts, Conflict{part, s.Name, s.Type, r, beside})
					continue
				}
				t.add(s, r)
				if s.Type == dns.TypeCNAME {
					aliases[s.Name] = true
				} else {
					others[s.Name] = s.Type
				}
			}
		}
	}
	return t.sorted(), conflicts
}

// bars gives the type of what a record cannot stand beside; 0: there is nothing of the kind.
func (t table) bars(s model.RecordSet, r model.Record, aliases map[string]bool, others map[string]uint16) uint16 {
	switch {
	case s.Type == dns.TypeCNAME && others[s.Name] != 0:
		return others[s.Name]
	case s.Type != dns.TypeCNAME && aliases[s.Name]:
		return dns.TypeCNAME
	}
	if e := t[key{s.Name, s.Type}]; e != nil {
		first, ok := e.options[option{r.Geo, r.Set}]
		if ok && (!equal(first.Weight, r.Weight) || single(s.Type) && first.Data != r.Data) {
			return s.Type
		}
	}
	return 0
}

// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"testing"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
)

// At the origin of a zone no CNAME can stand, whether the configuration or a DNSZone says that it is one.
func TestHostNamesAtOrigins(t *testing.T) {
	store := NewStore()
	store.Put(DNSZone, &v1alpha1.DNSZone{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: v1alpha1.DNSZoneSpec{Origin: "B.test"}})
	s := &Settings{Origins: []string{"a.test."}}
	for host, want := range map[string]uint16{"a.test.": dns.TypeAAAA, "b.test.": dns.TypeAAAA, "www.b.test.": dns.TypeCNAME} {
		sets, problems := s.targets([]string{host}, []string{"lb.example.net"}, nil, "", "", store)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if sets[0].Type != want || want == dns.TypeAAAA && sets[0].Records[0].Follow != "lb.example.net." {
			t.Errorf("%s is published as %+v, want type %d", host, sets, want)
		}
	}
}

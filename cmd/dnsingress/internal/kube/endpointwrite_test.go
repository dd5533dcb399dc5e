// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

// record reads NAME TYPE TARGET, with NAME/SET where there is a set identifier.
func record(text string) *externaldns.Endpoint {
	f := strings.Fields(text)
	name, set, _ := strings.Cut(f[0], "/")
	return &externaldns.Endpoint{DNSName: name, SetIdentifier: set, RecordType: f[1], Targets: f[2:]}
}

func recordsOf(texts ...string) (all []*externaldns.Endpoint) {
	for _, text := range texts {
		all = append(all, record(text))
	}
	return all
}

func holding(name string, texts ...string) externaldns.DNSEndpoint {
	return externaldns.DNSEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Spec: externaldns.DNSEndpointSpec{Endpoints: recordsOf(texts...)}}
}

func TestEndpointWrites(t *testing.T) {
	type changes = externaldns.Changes
	tests := []struct {
		name    string
		objects []externaldns.DNSEndpoint
		changes changes
		want    []string // STAGE VERB OBJECT: RECORDS
	}{
		{"nothing", nil, changes{}, nil},
		{"notes come before what they are of", nil, changes{Create: recordsOf("b.test A 192.0.2.1", "a-b.test TXT note")}, []string{"0 create a-b.test: a-b.test TXT note", "1 create b.test: b.test A 192.0.2.1"}},
		{
			"and go after it",
			[]externaldns.DNSEndpoint{holding("b.test", "b.test A 192.0.2.1"), holding("a-b.test", "a-b.test TXT note")},
			changes{Delete: recordsOf("a-b.test TXT note", "b.test A 192.0.2.1")},
			[]string{"1 delete b.test: b.test A 192.0.2.1", "2 delete a-b.test: a-b.test TXT note"},
		},
		{"a note at the name itself is written with it", nil, changes{Create: recordsOf("b.test A 192.0.2.1", "b.test TXT note")}, []string{"1 create b.test: b.test A 192.0.2.1; b.test TXT note"}},
		{
			"a note that changes",
			[]externaldns.DNSEndpoint{holding("a.test", "a.test TXT old")},
			changes{UpdateOld: recordsOf("a.test TXT old"), UpdateNew: recordsOf("a.test TXT new")},
			[]string{"0 update a.test: a.test TXT new"},
		},
		{"repeated", []externaldns.DNSEndpoint{holding("a.test", "a.test A 192.0.2.1")}, changes{Create: recordsOf("a.test A 192.0.2.1")}, nil},
		{"repeated in other letters", []externaldns.DNSEndpoint{holding("a.test", "a.test A 192.0.2.1")}, changes{Delete: recordsOf("A.TEST. a 192.0.2.1")}, []string{"1 delete a.test: a.test A 192.0.2.1"}},
		{"deleted twice", nil, changes{Delete: recordsOf("a.test A 192.0.2.1")}, nil},
		{
			"one of two sets",
			[]externaldns.DNSEndpoint{holding("a.test", "a.test/x A 192.0.2.1", "a.test/y A 192.0.2.2")},
			changes{Delete: recordsOf("a.test/x A 192.0.2.1")},
			[]string{"1 update a.test: a.test A (y) 192.0.2.2"},
		},
		{
			"another type",
			[]externaldns.DNSEndpoint{holding("a.test", "a.test CNAME b.test")},
			changes{Delete: recordsOf("a.test CNAME b.test"), Create: recordsOf("a.test A 192.0.2.1")},
			[]string{"1 update a.test: a.test A 192.0.2.1"},
		},
		{"twice in a batch", nil, changes{Create: recordsOf("a.test A 192.0.2.1", "a.test A 192.0.2.1")}, []string{"1 create a.test: a.test A 192.0.2.1"}},
		{
			"an object that somebody has renamed",
			[]externaldns.DNSEndpoint{holding("mine", "a.test A 192.0.2.1")},
			changes{UpdateOld: recordsOf("a.test A 192.0.2.1"), UpdateNew: recordsOf("a.test A 192.0.2.2")},
			[]string{"1 update mine: a.test A 192.0.2.2"},
		},
		{
			"two objects of one name",
			[]externaldns.DNSEndpoint{holding("a.test", "a.test A 192.0.2.1"), holding("mine", "a.test A 192.0.2.1")},
			changes{Create: recordsOf("a.test A 192.0.2.1")},
			[]string{"1 delete mine: a.test A 192.0.2.1"},
		},
		{
			"names that no object can have", nil,
			changes{Create: recordsOf("*.test A 192.0.2.1", "_a._tcp.test SRV x")},
			[]string{"1 create name-55ac876a7b25a808d01b3e2a6de14df0: _a._tcp.test SRV x", "1 create name-fd45ff7f8a5940a466be947fc4d952b9: *.test A 192.0.2.1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, w := range endpointWrites(tt.objects, "n", &tt.changes, func(*externaldns.Endpoint) bool { return true }) {
				got = append(got, fmt.Sprintf("%d %s %s: %s", w.stage, w.verb, w.object.Name, w.records()))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestObjectName(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a.test.", "*.a.test.", "_a.test.", strings.Repeat("a.", 126) + "a.", "-a.test."} {
		got := objectName(name)
		if other := seen[got]; other != "" || len(got) > 253 || strings.ContainsAny(got, "*_") {
			t.Errorf("%s is called %q, as %q", name, got, other)
		}
		seen[got] = name
	}
	if got := objectName("a.test."); got != "a.test" {
		t.Errorf("a.test. is called %s", got)
	}
}

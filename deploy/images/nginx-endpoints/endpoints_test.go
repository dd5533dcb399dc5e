// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// slice returns an EndpointSlice of the backend; a state is "" (no condition), "ready" or "unready".
func slice(name string, ports map[string]int32, states map[string]string) *discovery.EndpointSlice {
	s := &discovery.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "bench", Name: name, Labels: map[string]string{discovery.LabelServiceName: "backend"}},
		AddressType: discovery.AddressTypeIPv6,
	}
	for name, number := range ports {
		s.Ports = append(s.Ports, discovery.EndpointPort{Name: &name, Port: &number})
	}
	for address, state := range states {
		e := discovery.Endpoint{Addresses: []string{address}}
		if ready := state == "ready"; state != "" {
			e.Conditions.Ready = &ready
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func TestReady(t *testing.T) {
	http := map[string]int32{"http": 80}
	two := map[string]int32{"http": 80, "metrics": 9100}
	tests := map[string]struct {
		slices  []*discovery.EndpointSlice
		port    string
		want    []string
		wantErr string
	}{
		"none":                     {},
		"sorted over slices":       {slices: []*discovery.EndpointSlice{slice("a", http, map[string]string{"fd00::2": "ready", "fd00::10": "ready"}), slice("b", http, map[string]string{"fd00::1": "ready"})}, want: []string{"[fd00::1]:80", "[fd00::2]:80", "[fd00::10]:80"}},
		"listed twice":             {slices: []*discovery.EndpointSlice{slice("a", http, map[string]string{"fd00::1": "ready"}), slice("b", http, map[string]string{"fd00::1": "ready"})}, want: []string{"[fd00::1]:80"}},
		"not ready":                {slices: []*discovery.EndpointSlice{slice("a", http, map[string]string{"fd00::1": "unready", "fd00::2": "ready"})}, want: []string{"[fd00::2]:80"}},
		"no condition means ready": {slices: []*discovery.EndpointSlice{slice("a", http, map[string]string{"fd00::1": ""})}, want: []string{"[fd00::1]:80"}},
		"port by name":             {slices: []*discovery.EndpointSlice{slice("a", two, map[string]string{"fd00::1": "ready"})}, port: "metrics", want: []string{"[fd00::1]:9100"}},
		"a port it has not":        {slices: []*discovery.EndpointSlice{slice("a", two, map[string]string{"fd00::1": "ready"})}, port: "grpc"},
		"which port":               {slices: []*discovery.EndpointSlice{slice("a", two, map[string]string{"fd00::1": "ready"})}, wantErr: "bench/a: it has 2 ports"},
		"no address":               {slices: []*discovery.EndpointSlice{slice("a", http, map[string]string{"pod-1": "ready"})}, wantErr: "bench/a: ParseAddr"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ready(test.slices, test.port)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("error %v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []netip.AddrPort
			for _, text := range test.want {
				want = append(want, netip.MustParseAddrPort(text))
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

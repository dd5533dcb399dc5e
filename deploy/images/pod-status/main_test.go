// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	cachetesting "k8s.io/client-go/tools/cache/testing"

	"github.com/dnsingress/dnsingress/internal/cli"
)

func slice(ready map[string]bool) *discovery.EndpointSlice {
	s := &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "bench", Name: "backend-1"}, AddressType: discovery.AddressTypeIPv6}
	for address, is := range ready {
		s.Endpoints = append(s.Endpoints, discovery.Endpoint{Addresses: []string{address}, Conditions: discovery.EndpointConditions{Ready: &is}})
	}
	return s
}

// The status has the ready pods, and none when there are none; what is so already is not written.
func TestFollows(t *testing.T) {
	client := fake.NewClientset(&core.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "bench", Name: "gateway"},
		Status:     core.ServiceStatus{LoadBalancer: core.LoadBalancerStatus{Ingress: []core.LoadBalancerIngress{{IP: "fd00::99"}}}},
	})
	source := cachetesting.NewFakeControllerSource()
	source.Add(slice(map[string]bool{"fd00::10": true, "fd00::2": true, "fd00::3": false}))
	f := &follower{
		client: client, from: types.NamespacedName{Namespace: "bench", Name: "backend"}, to: types.NamespacedName{Namespace: "bench", Name: "gateway"},
		log: slog.New(slog.NewTextHandler(t.Output(), nil)), changed: make(chan struct{}, 1),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.follow(ctx, source) }()
	await := func(want ...string) {
		t.Helper()
		var got []string
		for ctx.Err() == nil {
			s, err := client.CoreV1().Services("bench").Get(ctx, "gateway", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got = nil
			for _, i := range s.Status.LoadBalancer.Ingress {
				got = append(got, i.IP)
			}
			if slices.Equal(got, want) {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("status has %v, want %v", got, want)
	}
	await("fd00::2", "fd00::10")
	source.Modify(slice(map[string]bool{"fd00::10": true}))
	await("fd00::10")
	source.Modify(slice(map[string]bool{"fd00::10": false}))
	await()
	patches := len(client.Actions())
	if err := f.write(ctx, nil); err != nil {
		t.Fatal(err)
	}
	for _, a := range client.Actions()[patches:] {
		if a.GetVerb() == "patch" {
			t.Error("what was so already was written")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBadInput(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for want, args := range map[string][]string{
		`--from ""`:       nil,
		`--to "gateway"`:  {"--from", "bench/backend", "--to", "gateway"},
		"the API server:": {"--from", "bench/backend", "--to", "bench/gateway"},
	} {
		var out bytes.Buffer
		if exit := cli.Run(t.Context(), command(nil, &out, &out), args, &out); exit == 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit %d, %q, want %q", args, exit, out.String(), want)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func service(name string) Ref { return Ref{Kind: "Service", Namespace: "shop", Name: name} }

func TestOldestClaimHasTheName(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	claims := []struct {
		ref     Ref
		created time.Time
	}{{service("young"), day(3)}, {service("b"), day(1)}, {service("a"), day(1)}, {service("old"), day(2)}}
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		r.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
		var c Claims
		for _, x := range claims {
			c.Set(x.ref, x.created, []string{"www.test."})
		}
		for _, want := range []string{"a", "b", "old", "young"} {
			owner, ok := c.Owner("www.test.")
			if !ok || owner != service(want) {
				t.Fatalf("owner is %v, want %s", owner, want)
			}
			if r := c.Rivals("www.test."); want == "a" && !slices.Equal(r, []Ref{service("b"), service("old"), service("young")}) {
				t.Fatalf("rivals are %v", r)
			}
			c.Set(owner, day(9), nil)
		}
		if owner, ok := c.Owner("www.test."); ok {
			t.Fatalf("%v owns a name that nobody claims", owner)
		}
		if len(c.hosts) != 0 || len(c.refs) != 0 {
			t.Fatalf("left over: %v", c)
		}
	}
}

func TestSetReturnsWhatItTouches(t *testing.T) {
	var c Claims
	now := time.Now()
	c.Set(service("a"), now, []string{"one.", "two."})
	c.Set(service("b"), now, []string{"two."})
	touched, rivals := c.Set(service("a"), now, []string{"two.", "three."})
	if len(touched) != 3 || len(rivals) != 1 || rivals[0] != service("b") {
		t.Errorf("touched %v, rivals %v", touched, rivals)
	}
	if _, ok := c.Owner("one."); ok {
		t.Error("one. was given up and is still owned")
	}
}

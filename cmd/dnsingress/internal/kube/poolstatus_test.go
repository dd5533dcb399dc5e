// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// replica writes the status of one target as statuses does.
type replica struct {
	pool    model.Status
	settled map[string]model.Status
}

// look writes what the replica makes of the target, and reports whether that is other than what was there.
func (r *replica) look(t *v1alpha1.TargetStatus) (wrote bool) {
	s := &Source{options: Options{Pools: func(model.Ref) (model.Status, bool) { return r.pool, true }}}
	now := map[string]model.Status{}
	out := s.poolStatus(*t, model.Ref{Kind: "Service", Namespace: "shop", Name: "web"}, []v1alpha1.TargetStatus{*t}, r.settled, now)
	wrote = !equality.Semantic.DeepEqual(out, t.Pool)
	t.Pool, r.settled = out, now
	return wrote
}

func poolWith(in bool, reason string, ttl uint32, since time.Time) model.Status {
	x := model.Status{Ready: 2, In: 1, TTL: ttl, TTLRule: "calm", Selection: "window"}
	x.Members = []model.MemberStatus{{Address: netip.MustParseAddr("fd00::1"), Pod: "web-0", In: in, Reason: reason, Rule: "load", Since: since}}
	return x
}

// Two replicas to which a pod looks different for good each write what changes for them, once.
func TestReplicasDoNotFightOverPools(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b := &replica{pool: poolWith(true, "within", 5, at)}, &replica{pool: poolWith(false, "beyond", 5, at)}
	target := &v1alpha1.TargetStatus{Kind: "Service", Name: "web"}
	writes := 0
	for range 20 {
		for _, r := range []*replica{a, b} {
			if r.look(target) {
				writes++
			}
		}
	}
	if writes != 2 {
		t.Errorf("%d writes, want one a replica", writes)
	}
	if a.pool = poolWith(false, "beyond", 5, at); a.look(target) || b.look(target) {
		t.Error("what the other had written already was written again")
	}
	if b.pool = poolWith(true, "within", 5, at); !b.look(target) || a.look(target) {
		t.Error("what changed for one was not written once")
	}
}

func TestOnlyWhatChangesIsWritten(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		next model.Status
		want bool
	}{
		{"nothing", poolWith(true, "within", 8, at), false},
		{"another time", poolWith(true, "within", 8, at.Add(time.Minute)), false},
		{"a vote against it", poolWith(true, "unconfirmed", 8, at), false},
		{"a slightly longer TTL", poolWith(true, "within", 15, at), false},
		{"a TTL twice as long", poolWith(true, "within", 16, at), true},
		{"it leaves", poolWith(false, "beyond", 8, at), true},
		{"readiness alone counts", poolWith(true, "no-signal", 8, at), true},
	} {
		r := &replica{pool: poolWith(true, "within", 8, at)}
		target := &v1alpha1.TargetStatus{Kind: "Service", Name: "web"}
		r.look(target)
		if r.pool = c.next; r.look(target) != c.want {
			t.Errorf("%s: written %t, want %t", c.name, !c.want, c.want)
		}
		// Slow drifts are seen in the end, as what was written last counts.
		if fmt.Sprint(target.Pool.TTLSeconds) == "8" == (c.name == "a TTL twice as long") {
			t.Errorf("%s: TTL %d", c.name, target.Pool.TTLSeconds)
		}
	}
}

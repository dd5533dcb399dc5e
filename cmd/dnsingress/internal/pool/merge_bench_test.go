// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// BenchmarkPeerDown has the lease of a cluster end, and come back, that has ten members of twenty for each of 10,000 names.
func BenchmarkPeerDown(b *testing.B) {
	bench := newBench(b)
	bench.ConnectSharer(&given{all: map[string]model.Share{}})
	bench.do(mail{synced: true})
	bench.options.Config.Peers.Clusters = []config.Peer{{Name: "south"}}
	changed := map[string]*model.Share{}
	var updates []model.Update
	for i := range 10_000 {
		host := fmt.Sprintf("h%d.apps.test.", i)
		p := pool(fmt.Sprintf("h%d", i), host, 16*i+1, 16*i+10)
		updates = append(updates, model.Update{Ref: p.Ref, Pool: p})
		s := &model.Share{Host: host, TTL: 5}
		for k := range 10 {
			s.Members = append(s.Members, model.SharedMember{Address: netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 11: byte(i >> 8), 12: byte(i), 15: byte(k)}), In: true, Reason: "ready", Weight: 1})
		}
		changed[host] = s
	}
	bench.do(mail{updates: updates})
	state := model.PeerState{Name: "south", Up: true, Since: bench.now}
	bench.do(mail{peers: []model.PeerNews{{PeerState: state, Changed: changed}}})
	for b.Loop() {
		state.Up = !state.Up
		bench.do(mail{peers: []model.PeerNews{{PeerState: state}}})
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/turn")
}

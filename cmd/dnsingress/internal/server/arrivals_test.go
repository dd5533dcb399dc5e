// SPDX-License-Identifier: Apache-2.0

package server

import (
	"runtime"
	"testing"

	"github.com/miekg/dns"
)

// TestGiveWay has the only processor work on and on: a query that has arrived is taken because the work gives way.
func TestGiveWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := start(t, Config{Workers: 1})
	conn, query := dial(t, "udp", s.Addrs()[0]), pack(t, ask("www.example.org.", dns.TypeAAAA))
	for range 100 {
		send(t, conn, query)                               // over loopback: it is there when this returns
		for i := 0; s.arrivals.waiting() && i < 100; i++ { // a busy machine may stand still for the whole time aside
			s.GiveWay()
		}
		if s.arrivals.waiting() {
			t.Fatal("the query still waits")
		}
		receive(t, conn)
	}
}

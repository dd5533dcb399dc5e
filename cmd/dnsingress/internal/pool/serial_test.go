// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/prometheus/client_golang/prometheus"
)

// TestSerialSurvivesRestarts changes a zone more often than once a second, and starts again and again: with a state
// directory no serial comes twice.
func TestSerialSurvivesRestarts(t *testing.T) {
	text := fmt.Sprintf("state: %q\nzones: [{origin: apps.test, nameservers: [{name: ns.test}]}]\n", t.TempDir())
	var last uint32
	for start := range 4 {
		c, err := config.Parse("test.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		catalog := new(zone.Catalog)
		e, err := New(Options{Config: c, Catalog: catalog, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{Engine: e, t: t, now: time.Now(), problems: map[model.Ref][]model.Problem{}}
		e.Connect(b, b)
		b.do(mail{synced: true})
		for i := range 5000 {
			if p := pool("shop", "shop.apps.test.", 1, 2); i%2 == 0 {
				b.update(p)
			} else {
				b.remove(p)
			}
			serial := catalog.Zone("apps.test").Serial()
			if last != 0 && int32(serial-last) <= 0 {
				t.Fatalf("start %d, change %d: serial %d after %d", start, i, serial, last)
			}
			last = serial
		}
	}
}

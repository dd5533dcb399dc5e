// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAsk(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -250 * time.Millisecond} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			now := time.Now().Add(ahead).UnixNano()
			_ = json.NewEncoder(w).Encode(stamps{now, now})
		}))
		r, err := Ask(t.Context(), srv.URL, "other")
		srv.Close()
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Duration(r.OffsetNs) - ahead; off.Abs() > time.Duration(r.RTTNs/2) || r.RTTNs <= 0 {
			t.Errorf("a clock %v ahead: %+v, which is %v off", ahead, r, off)
		}
	}
}

func TestAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(Answer))
	r, err := Ask(t.Context(), srv.URL, "self")
	if err != nil || time.Duration(r.OffsetNs).Abs() > time.Duration(r.RTTNs/2) {
		t.Errorf("own clock: %+v, %v", r, err)
	}
	srv.Close()
	if r, err := Ask(t.Context(), srv.URL, "self"); err == nil || r.Error == "" {
		t.Errorf("nobody there: %+v, %v", r, err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if _, err := Ask(t.Context(), other.URL, "self"); err == nil || !strings.Contains(err.Error(), "hint") {
		t.Errorf("no generator: %v", err)
	}
}

func TestParseTracking(t *testing.T) {
	got, err := parseTracking("A9FEA97B,169.254.169.123,4,1763778000.123456789,-0.000012345,0.000004,0.00002,-5.1,0.01,0.2,0.001000000,0.000500000,16.2,Normal\n")
	want := Tracking{Reference: "169.254.169.123", Stratum: 4, OffsetNs: -12345, BoundNs: 12345 + 500_000 + 500_000, Leap: "Normal"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, bad := range []string{"", "506 Cannot talk to daemon", strings.Repeat("x,", 13) + "x", "a,b,1,2,x,4,5,6,7,8,9,10,11,Normal"} {
		if got, err := parseTracking(bad); err == nil {
			t.Errorf("%q gave %+v", bad, got)
		}
	}
}

func TestJudge(t *testing.T) {
	a := Account{
		Before: Look{Peers: []Reading{{Peer: "a", OffsetNs: 4e6, RTTNs: 1e6}, {Peer: "b", OffsetNs: -9e6, RTTNs: 4e6}}},
		After:  Look{Peers: []Reading{{Peer: "a", Error: "gone"}}},
	}
	got := strings.Join(a.Judge(10*time.Millisecond), "\n")
	if want := "before the run the clock of b was off by -9ms (±2ms), bound 10ms\nthe clock of a could not be asked after the run: gone"; got != want {
		t.Errorf("got %s", got)
	}
	if r := a.Judge(0); r != nil {
		t.Errorf("no bound: %v", r)
	}
}

// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePool(t *testing.T) {
	events := parsePool(`10 backend-a fd00::1,fd00::2 true,true
20 backend-a fd00::1,fd00::2 true,false
25 backend-b fd00::9 true
30 backend-a   fd00::1,fd00::2,fd00::3   true,false,false
40 backend-a fd00::1,fd00::3 true,true
noise
45 backend-b <none> <none>
50 backend-a fd00::1 fal`, "control-1")
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprint(e.UnixNs, " ", e.Kind, " ", e.Name, " ", e.Target))
	}
	want := []string{"20 pool unready fd00::2", "30 pool added fd00::3", "40 pool gone fd00::2", "40 pool ready fd00::3", "45 pool gone fd00::9"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

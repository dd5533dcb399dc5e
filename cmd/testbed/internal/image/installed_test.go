// SPDX-License-Identifier: Apache-2.0

package image

import "testing"

// Each is older than the next, as dpkg --compare-versions has it.
func TestCompareVersions(t *testing.T) {
	versions := []string{"0.9~rc1-1", "0.9-1", "0.9-1+b1", "0.9-1+deb12u1", "0.9-1.1", "0.9-2", "0.9.1-1", "0.10-1", "1.0~", "1.0", "1.0a", "1.0+x", "1:0.1", "2:0"}
	for i, a := range versions {
		for j, b := range versions {
			if got := compareVersions(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	for _, pair := range [][2]string{{"1.0", "1.00"}, {"0:1", "1"}, {"1-0", "1"}} {
		if got := compareVersions(pair[0], pair[1]); got != 0 {
			t.Errorf("%s and %s: %d", pair[0], pair[1], got)
		}
	}
}

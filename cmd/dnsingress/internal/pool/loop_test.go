// SPDX-License-Identifier: Apache-2.0

package pool

import "testing"

func TestDNAMEsThatLeadBack(t *testing.T) {
	b := live(t)
	self := records("self", "d.apps.test. DNAME below.d.apps.test.", "d.apps.test. A 192.0.2.1")
	b.update(self)
	b.wantZone("d.apps.test. 5 A 192.0.2.1") // all else at the name stays
	b.wantProblems(self, "Loop: d.apps.test.: its DNAME leads back to it by d.apps.test., so that")
	b.remove(self)

	one, two := records("one", "a.apps.test. DNAME x.b.apps.test."), records("two", "b.apps.test. DNAME a.apps.test.")
	b.update(one)
	b.wantZone("a.apps.test. 5 DNAME x.b.apps.test.")
	b.update(two)
	b.wantZone("a.apps.test. no data\nb.apps.test. no data")
	b.wantProblems(one, "Loop: a.apps.test.: its DNAME leads back to it by b.apps.test., a.apps.test.,")
	b.update(records("two", "b.apps.test. DNAME c.apps.test."))
	b.wantProblems(one)
	b.wantZone("a.apps.test. 5 DNAME x.b.apps.test.\nb.apps.test. 5 DNAME c.apps.test.")
	b.remove(one)
	b.remove(two)
	if len(b.loops) != 0 || len(b.pointing) != 0 {
		t.Errorf("left over: loops %v, pointing %v", b.loops, b.pointing)
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"testing"
)

// Every set of figures that an experiment has can be drawn by this program.
func TestFigureSets(t *testing.T) {
	paths, err := filepath.Glob("../../experiments/figures/*.yaml")
	if err != nil || len(paths) < 9 {
		t.Fatalf("%d sets of figures (%v)", len(paths), err)
	}
	for _, path := range paths {
		if set, err := figureSet(path); err != nil || len(set) == 0 {
			t.Errorf("%s: %d figures, %v", path, len(set), err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/policy"
)

// TestPoliciesOfTheTestbed: what experiments steer by is accepted.
func TestPoliciesOfTheTestbed(t *testing.T) {
	files, err := filepath.Glob("../../deploy/policies/*/policy.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d policies, %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.Parse(f, data); err != nil {
			t.Error(err)
		}
	}
}

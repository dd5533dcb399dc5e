// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/figure"
	"github.com/dnsingress/dnsingress/internal/results"
)

// TestSharesAreDrawn: a run whose samples say which pod answered has the figure and the table of the pod with the fault.
func TestSharesAreDrawn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(dir, os.DirFS(v1)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, results.TrialsDir, "016-direct-fault", results.SamplesFile)
	var rows []results.Sample
	if err := results.ReadRows(path, func(batch []results.Sample) error {
		for _, s := range batch {
			s.Backend = "backend-0"
			rows = append(rows, s)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w, err := results.CreateRows[results.Sample](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(rows...), w.Close()); err != nil {
		t.Fatal(err)
	}
	run, err := digest.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range lay(run, figure.Defaults()).files() {
		names[f.Name] = true
		if f.Name != "pod-share.csv" {
			continue
		}
		var csv bytes.Buffer
		if err := f.Write(&csv); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(csv.String()), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "system,fault,trial,share_before_percent,share_during_percent,share_settled_percent,share_after_percent,p99_before_ms") ||
			!strings.HasPrefix(lines[1], "direct,pod-sigkill,016-direct-fault,") {
			t.Errorf("the table is\n%s", &csv)
		}
	}
	if !names["pod-share.png"] || !names["pod-share.csv"] {
		t.Errorf("drawn: %v", names)
	}
}

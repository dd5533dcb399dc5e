// SPDX-License-Identifier: Apache-2.0

package results_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/internal/results"
)

func sealed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"manifest.json": "{}", "trials/000-a-steady/trial.json": "{}", "trials/000-a-steady/logs/x y.log": "hello", "figures/cpu.svg": "<svg/>",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := results.Seal(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSeal(t *testing.T) {
	write := func(t *testing.T, dir, name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		want   []string
	}{
		"nothing":             {func(*testing.T, string) {}, nil},
		"a figure drawn anew": {func(t *testing.T, dir string) { write(t, dir, "figures/cpu.svg", "<svg></svg>") }, nil},
		"a byte": {
			func(t *testing.T, dir string) { write(t, dir, "trials/000-a-steady/trial.json", "[]") },
			[]string{"trials/000-a-steady/trial.json is not what was recorded: its SHA-256 differs"},
		},
		"one more and one less": {
			func(t *testing.T, dir string) {
				write(t, dir, "trials/000-a-steady/more", "")
				if err := os.Remove(filepath.Join(dir, "manifest.json")); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"manifest.json is missing", "trials/000-a-steady/more was added after the run"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sealed(t)
			c.change(t, dir)
			got, err := results.CheckSeal(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is written is what sha256sum reads.
func TestSealIsThatOfCoreutils(t *testing.T) {
	cmd := exec.Command("sha256sum", "--check", "--strict", results.SumsFile)
	cmd.Dir = sealed(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSealsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := results.CheckSeal(dir); !errors.Is(err, results.ErrUnsealed) {
		t.Errorf("without a seal: %v", err)
	}
	for _, line := range []string{"zz  manifest.json", "abcd  manifest.json", strings.Repeat("ab", 32) + "  ../secret", strings.Repeat("ab", 32)} {
		if err := os.WriteFile(filepath.Join(dir, results.SumsFile), []byte(line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := results.CheckSeal(dir); err == nil || !strings.Contains(err.Error(), "SHA256SUMS:1: no line of sha256sum") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

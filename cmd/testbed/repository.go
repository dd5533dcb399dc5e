// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/dnsingress/dnsingress/internal/cli"
)

const module = "module github.com/dnsingress/dnsingress\n"

// findRepository returns the directory whose go.mod is ours: the given one, or the nearest from the
// working directory up.
func findRepository(given string) (string, error) {
	dir, err := filepath.Abs(given) // "" is the working directory
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if mod, err := os.ReadFile(filepath.Join(at, "go.mod")); err == nil && bytes.HasPrefix(mod, []byte(module)) {
			return at, nil
		}
		if given != "" || at == filepath.Dir(at) {
			return "", cli.Misuse("%s is not in a clone of dnsingress (hint: --repo DIR)", dir)
		}
	}
}

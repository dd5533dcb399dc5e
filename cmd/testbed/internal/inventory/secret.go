// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// File returns the path of a file that the inventory names: relative to the inventory's directory, or
// to the user's own where it begins with "~/".
func (inv *Inventory) File(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding %s: %w", path, err)
		}
		return filepath.Join(home, rest), nil
	}
	if filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Join(filepath.Dir(inv.Path), path), nil
}

// Secret returns what credentials: of the inventory stands for, without white space around it: env:NAME
// is the content of a variable, anything else a file as of File that nobody but its owner may read.
func (inv *Inventory) Secret(reference string) (string, error) {
	if name, ok := strings.CutPrefix(reference, "env:"); ok {
		if secret := strings.TrimSpace(os.Getenv(name)); secret != "" {
			return secret, nil
		}
		return "", fmt.Errorf("reading credentials: the variable %s is not set", name)
	}
	path, err := inv.File(reference)
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading credentials: %w (hint: as docs/testbed/power.md says)", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("reading credentials: %w", err)
	}
	if info.Mode()&0o077 != 0 {
		return "", fmt.Errorf("reading credentials: others may read %s (hint: chmod 600 %[1]s)", path)
	}
	data := make([]byte, maxSecret+1)
	n, err := f.Read(data)
	secret := strings.TrimSpace(string(data[:max(n, 0)]))
	switch {
	case err != nil && n == 0, secret == "":
		return "", fmt.Errorf("reading credentials: %s is empty", path)
	case n > maxSecret:
		return "", fmt.Errorf("reading credentials: %s is larger than %d bytes", path, maxSecret)
	}
	return secret, nil
}

// maxSecret bounds a file of credentials; an RSA key of 8192 bits has 6 KB.
const maxSecret = 16 << 10

// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/dnsingress/dnsingress/internal/disk"
)

// identityFile keeps the identity of a cluster that has no other, in the directory of what outlives restarts.
const identityFile = "cluster-identity"

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Identity is that of a cluster that nobody else gives one: the one that dir keeps, which is made where there is none yet.
// dir must exist; "" is none, and then each start has another.
func Identity(dir string) (string, error) {
	if dir == "" {
		return random(), nil
	}
	path := filepath.Join(dir, identityFile)
	text, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(text))
		if !label.MatchString(id) {
			return "", fmt.Errorf("%s:1:1: %q is no identity (hint: 63 letters, digits and hyphens at most; or remove the file)", path, id)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the cluster's identity: %w", err)
	}
	id := random()
	err = disk.Replace(path, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, id)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keeping the cluster's identity: %w", err)
	}
	return id, nil
}

// random is a label that nobody else has.
func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

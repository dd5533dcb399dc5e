// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// packageDir is where packages are on the boot partition.
const packageDir = "testbed/packages"

// deb is a Debian package that is installed at the first boot.
type deb struct {
	path   string
	arch   string // as Go names it; "all" for any
	size   int64
	sha256 string
}

func (d deb) name() string { return filepath.Base(d.path) }

// debs reads a directory of Debian packages, as apt-get download leaves them: NAME_VERSION_ARCHITECTURE.deb.
func debs(ctx context.Context, dir string) ([]deb, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return nil, fmt.Errorf("reading the packages: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("reading the packages: %s has no .deb", dir)
	}
	slices.Sort(paths)
	list := make([]deb, len(paths))
	for i, path := range paths {
		if list[i], err = readDeb(ctx, path); err != nil {
			return nil, fmt.Errorf("reading the packages: %w", err)
		}
	}
	return list, nil
}

func readDeb(ctx context.Context, path string) (deb, error) {
	d := deb{path: path}
	parts := strings.Split(strings.TrimSuffix(d.name(), ".deb"), "_")
	if len(parts) != 3 {
		return d, fmt.Errorf("%s: no name of a package (hint: NAME_VERSION_ARCHITECTURE.deb)", path)
	}
	d.arch = parts[2]
	f, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	head := make([]byte, 8)
	if _, err := io.ReadFull(f, head); err != nil || string(head) != "!<arch>\n" {
		return d, fmt.Errorf("%s is no Debian package", path)
	}
	h := sha256.New()
	h.Write(head)
	rest, err := io.Copy(io.MultiWriter(h, &meter{ctx: ctx}), f)
	if err != nil {
		return d, fmt.Errorf("%s: %w", path, err)
	}
	d.size, d.sha256 = rest+int64(len(head)), hex.EncodeToString(h.Sum(nil))
	return d, nil
}

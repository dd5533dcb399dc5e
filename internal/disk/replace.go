// SPDX-License-Identifier: Apache-2.0

// Package disk writes files that must outlive a crash.
package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Replace puts a new file in the place of an old one, whole or not at all, also where power fails. After it returns
// without an error it is on the disk.
func Replace(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails where it has its place
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // the name is on the disk when its directory is
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

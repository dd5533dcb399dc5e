// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Image is what is written to one node's card, from its first byte on. It is an io.ReaderAt, safe for concurrent use, that
// composes the operating system and what the node gets.
type Image struct {
	Node   string
	ID     string  // the hash of its inputs; the node has it in /etc/testbed/image
	Layout *Layout // of the operating system
	disk   *overlay
	base   *base
}

// Image makes the image of a node.
func (r *Recipe) Image(ctx context.Context, n inventory.Node) (*Image, error) {
	system, err := r.system(n)
	if err != nil {
		return nil, err
	}
	s, err := r.settings(n, system)
	if err != nil {
		return nil, err
	}
	id, err := r.id(ctx, system, s)
	if err != nil {
		return nil, err
	}
	b, err := r.base(ctx, system)
	if err != nil {
		return nil, err
	}
	i := &Image{Node: n.Name, ID: id, Layout: b.layout, disk: newOverlay(b.disk, b.disk.size), base: b}
	if err := i.customise(s, system); err != nil {
		return nil, fmt.Errorf("making the image of %s: %w", n.Name, err)
	}
	return i, nil
}

// customise writes the node's files to the boot partition.
func (i *Image) customise(s settings, system inventory.Image) error {
	boot, err := i.base.boot(i.disk)
	if err != nil {
		return err
	}
	if !i.Layout.Board {
		s.eeprom = nil
	}
	var errs []error
	put := func(name string, content []byte, err error) {
		if err == nil {
			err = boot.WriteFile(name, bytes.NewReader(content), int64(len(content)))
		}
		errs = append(errs, err)
	}
	content, err := s.userData(i.ID)
	put(userDataName, content, err)
	content, err = s.metaData(i.ID)
	put(metaDataName, content, err)
	content, err = s.networkConfig()
	put(networkConfigName, content, err)
	if i.Layout.Init == InitFirstrun {
		content, err = s.firstrun(i.ID)
		put(firstrunName, content, err)
	}
	if i.Layout.Board {
		was, err := boot.ReadFile(cmdlineName)
		put(cmdlineName, cmdline(was, i.Layout.Init, i.ID, append(defaultCmdline[:len(defaultCmdline):len(defaultCmdline)], system.Cmdline...)), err)
		was, err = boot.ReadFile(configName)
		put(configName, config(was, system.Config), err)
	} else {
		// cloud-init looks for a file system of this name; nothing else goes by the label of an EFI system partition.
		errs = append(errs, boot.SetLabel("CIDATA"))
	}
	return errors.Join(append(errs, boot.Flush())...)
}

// Size returns the image's size in bytes.
func (i *Image) Size() int64 { return i.disk.size }

// ReadAt implements io.ReaderAt.
func (i *Image) ReadAt(p []byte, off int64) (int, error) { return i.disk.ReadAt(p, off) }

// Sum returns the SHA-256 of all the image's bytes.
func (i *Image) Sum(ctx context.Context) ([sha256.Size]byte, error) {
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, &meter{ctx: ctx}), io.NewSectionReader(i, 0, i.Size())); err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("hashing the image of %s: %w", i.Node, err)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// WriteFile writes the image as a file, with holes where it is empty, and returns the SHA-256 of its bytes. The file appears
// whole or not at all.
func (i *Image) WriteFile(ctx context.Context, path string) (sum [sha256.Size]byte, err error) {
	tmp, err := os.OpenFile(path+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600) // it holds the node's private key
	if err != nil {
		return sum, fmt.Errorf("writing the image of %s: %w", i.Node, err)
	}
	defer func() { tmp.Close(); _ = os.Remove(tmp.Name()) }() // after the renaming there is nothing of that name
	h := sha256.New()
	err = sparse(tmp, io.TeeReader(io.NewSectionReader(i, 0, i.Size()), io.MultiWriter(h, &meter{ctx: ctx})))
	if err == nil {
		err = tmp.Sync()
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return sum, fmt.Errorf("writing the image of %s: %w", i.Node, err)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Boot returns the boot partition's files, for who serves them over the network.
func (i *Image) Boot() (fs.FS, error) {
	boot, err := i.base.boot(i.disk)
	if err != nil {
		return nil, err
	}
	return boot.Files(), nil
}

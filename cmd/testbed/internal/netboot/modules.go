// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Module is a kernel module, uncompressed.
type Module struct {
	Name    string // "virtio_net.ko"
	Content []byte
}

// Drivers that a PC in a virtual machine needs to reach its network and its disk.
var Drivers = []string{"virtio_pci", "virtio_net", "virtio_blk"}

// Modules reads drivers and what they depend on, in the order to load them in, from a kernel's directory of modules
// (/lib/modules/VERSION; modules.dep and modules.builtin as depmod writes them). Drivers that are built in are left
// out; one that the kernel does not have at all is an error.
func Modules(kernel fs.FS, drivers []string) ([]Module, error) {
	dep, err := fs.ReadFile(kernel, "modules.dep")
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's modules: %w (hint: depmod, or a whole kernel package)", err)
	}
	builtin, err := fs.ReadFile(kernel, "modules.builtin")
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's modules: %w", err)
	}
	needs, paths := map[string][]string{}, map[string]string{}
	for line := range strings.Lines(string(dep)) {
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		paths[moduleName(file)] = file
		needs[moduleName(file)] = strings.Fields(rest)
	}
	inside := map[string]bool{}
	for s := bufio.NewScanner(bytes.NewReader(builtin)); s.Scan(); {
		inside[moduleName(s.Text())] = true
	}
	var list []Module
	seen := map[string]bool{}
	add := func(name string) error {
		if seen[name] || inside[name] {
			return nil
		}
		seen[name] = true
		content, err := readModule(kernel, paths[name])
		if err != nil {
			return err
		}
		list = append(list, Module{name + ".ko", content})
		return nil
	}
	for _, d := range drivers {
		name := moduleName(d)
		if paths[name] == "" && !inside[name] {
			return nil, fmt.Errorf("reading the kernel's modules: it has no driver %s", d)
		}
		// modules.dep lists all of a module's dependencies, those to be loaded first last.
		for i := len(needs[name]) - 1; i >= 0; i-- {
			if err := add(moduleName(needs[name][i])); err != nil {
				return nil, err
			}
		}
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// moduleName is a module's own name: hyphens and underscores are the same to the kernel.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// readModule reads a module as the agent loads it: not every kernel can unpack its modules itself.
func readModule(kernel fs.FS, name string) ([]byte, error) {
	content, err := fs.ReadFile(kernel, name)
	if err != nil {
		return nil, fmt.Errorf("reading a kernel module: %w", err)
	}
	var r io.Reader
	switch path.Ext(name) {
	case ".ko":
		return content, nil
	case ".gz":
		r, err = gzip.NewReader(bytes.NewReader(content))
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(bytes.NewReader(content)); err == nil {
			defer d.Close()
			r = d
		}
	default:
		return nil, fmt.Errorf("reading the kernel module %s: compressed in a way that is not known here (hint: .ko, .ko.gz or .ko.zst)", name)
	}
	if err == nil {
		content, err = io.ReadAll(r)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the kernel module %s: %w", name, err)
	}
	return content, nil
}

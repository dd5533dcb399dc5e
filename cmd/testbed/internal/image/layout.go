// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/ext4"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/fat"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/partition"
)

// Forms of a first boot.
const (
	InitCloud    = "cloud-init" // the system has cloud-init, which reads the NoCloud files
	InitFirstrun = "firstrun"   // Raspberry Pi OS before cloud-init: the kernel's arguments name a script
)

// Layout is what is found out about an operating system's image.
type Layout struct {
	Table  string              // partition.MBR or partition.GPT
	Boot   partition.Partition // FAT: what firmware reads, and where our files go
	Root   partition.Partition // ext4
	Board  bool                // a Raspberry Pi boots from it: it has config.txt and cmdline.txt
	System string              // as os-release has it: "debian 12", "raspbian 12"
	Arch   string              // of its programs, as Go names it
	Init   string              // InitCloud, InitFirstrun or, when it has neither, empty
}

// Inspect finds the partitions of a disk and what system is on it.
func Inspect(disk io.ReaderAt, size int64) (*Layout, error) {
	table, err := partition.Read(disk, size)
	if err != nil {
		return nil, err
	}
	l := &Layout{Table: table.Kind}
	for _, p := range table.Partitions {
		at := section{newOverlay(disk, size), p.Start, p.Size}
		if err := l.boot(p, at); err != nil {
			return nil, fmt.Errorf("partition %d: %w", p.Number, err)
		}
		if err := l.root(p, at); err != nil {
			return nil, fmt.Errorf("partition %d: %w", p.Number, err)
		}
	}
	switch {
	case l.Boot.Number == 0:
		return nil, errors.New("no partition has a FAT file system that firmware boots from (hint: Raspberry Pi OS, or a Debian cloud image)")
	case l.Root.Number == 0:
		return nil, errors.New("no partition has an ext4 file system with /etc/os-release")
	}
	return l, nil
}

// boot takes the partition as that of firmware if it is one: a board's before an EFI system partition.
func (l *Layout) boot(p partition.Partition, at section) error {
	f, err := fat.Open(at, at.size)
	if errors.Is(err, fat.ErrNotFAT) {
		return nil
	}
	if err != nil {
		return err
	}
	board := true
	for _, name := range []string{configName, cmdlineName} {
		if _, err := f.ReadFile(name); errors.Is(err, fs.ErrNotExist) {
			board = false
		} else if err != nil {
			return err
		}
	}
	if board && !l.Board || p.System() && l.Boot.Number == 0 {
		l.Boot, l.Board = p, board
	}
	return nil
}

// machines are the architectures that boards and the twin have.
var machines = map[elf.Machine]string{elf.EM_AARCH64: "arm64", elf.EM_X86_64: "amd64", elf.EM_ARM: "arm"}

func (l *Layout) root(p partition.Partition, at section) error {
	f, err := ext4.Open(at)
	if errors.Is(err, ext4.ErrNotExt4) {
		return nil
	}
	if err != nil {
		return err
	}
	release, err := f.ReadFile("/etc/os-release")
	if errors.Is(err, fs.ErrNotExist) || l.Root.Number != 0 {
		return nil
	}
	if err != nil {
		return err
	}
	l.Root = p
	values := map[string]string{}
	for _, line := range lines(release) {
		key, value, _ := strings.Cut(line, "=")
		values[key] = strings.Trim(value, `"'`)
	}
	l.System = strings.TrimSpace(values["ID"] + " " + values["VERSION_ID"])
	if shell, err := f.ReadFile("/bin/sh"); err == nil {
		if program, err := elf.NewFile(bytes.NewReader(shell)); err == nil {
			l.Arch = machines[program.Machine]
		}
	}
	for _, form := range []struct{ init, path string }{
		{InitCloud, "/usr/bin/cloud-init"},
		{InitFirstrun, "/usr/lib/raspberrypi-sys-mods/imager_custom"},
	} {
		there, err := f.Exists(form.path)
		if err != nil {
			return err
		}
		if there && l.Init == "" {
			l.Init = form.init
		}
	}
	return nil
}

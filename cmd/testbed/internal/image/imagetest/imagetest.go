// SPDX-License-Identifier: Apache-2.0

// Package imagetest makes disks for tests by other hands than those that are tested: sfdisk, mkfs.fat, mtools and mkfs.ext4.
package imagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Need skips a test that lacks a program; where everything is to be tested it fails.
func Need(tb testing.TB, programs ...string) {
	tb.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			tb.Fatalf("%s is missing (hint: tools/bootstrap test)", p)
		}
		tb.Skipf("SKIPPED: %s is missing (hint: tools/bootstrap test)", p)
	}
}

// Run runs a program and returns what it prints.
func Run(tb testing.TB, stdin, name string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Noise returns n bytes that compress badly and are the same each time.
func Noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

// System is an operating system's image in small.
type System struct {
	GPT       bool   // as Debian's cloud images: root first, and an EFI system partition; else as Raspberry Pi OS
	CloudInit bool   // it has cloud-init; else, on a board, the script of the first boot
	Status    string // what dpkg has installed
	Bare      bool   // it has neither
}

// Boot is what firmware finds on a board's boot partition, apart from overlays/.
var Boot = map[string][]byte{
	"config.txt":      []byte("# For more options see http://rptl.io/configtxt\narm_64bit=1\n\n[cm5]\ndtoverlay=dwc2\n"),
	"cmdline.txt":     []byte("console=serial0,115200 console=tty1 root=PARTUUID=5ce7a1b0-02 rootfstype=ext4 fsck.repair=yes rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot\n"),
	"kernel_2712.img": Noise(3<<20+17, 1),
	"issue.txt":       []byte("Raspberry Pi reference\n"),
}

// Overlay is a file of overlays/, by a long name.
var Overlay = Noise(2085, 2)

// Disk writes the image of a system into dir, and returns its path.
func (s System) Disk(tb testing.TB, dir string) string {
	tb.Helper()
	Need(tb, "sfdisk", "mkfs.fat", "mtools", "mkfs.ext4")
	path := filepath.Join(dir, "system.img")
	table, boot, root := "label: dos\nlabel-id: 0x5ce7a1b0\n2048,69632,c\n71680,16384,83\n", area{2048, 69632}, area{71680, 16384}
	size, fatArgs := int64(44<<20), []string{"-F", "32", "-s", "1", "-n", "bootfs"}
	if s.GPT {
		table = "label: gpt\nlabel-id: 6D1B9F5A-5A55-4F4B-8A76-0F6B7A7C7A11\nfirst-lba: 34\nlast-lba: 90078\n" +
			"start=71680,size=16384,type=0FC63DAF-8483-4772-8E79-3D69D8477DE4,uuid=11111111-2222-3333-4444-555555555501\n" +
			"start=2048,size=2048,type=21686148-6449-6E6F-744E-656564454649\n" +
			"start=4096,size=65536,type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n"
		boot, root = area{4096, 65536}, area{71680, 16384}
		fatArgs = []string{"-F", "16", "-n", "UEFI"}
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		tb.Fatal(err)
	}
	Run(tb, table, "sfdisk", "-q", path)
	fat := s.boot(tb, dir, boot, fatArgs)
	ext := s.root(tb, dir, root)
	place(tb, path, fat, boot)
	place(tb, path, ext, root)
	return path
}

// area is a part of a disk, in sectors.
type area struct{ start, count int64 }

func (s System) boot(tb testing.TB, dir string, a area, args []string) string {
	tb.Helper()
	fat := filepath.Join(dir, "boot.fat")
	Run(tb, "", "mkfs.fat", append(args, "--invariant", "-C", fat, fmt.Sprint(a.count/2))...)
	if s.GPT {
		Run(tb, "", "mtools", "-c", "mmd", "-i", fat, "::/EFI", "::/EFI/BOOT")
		Copy(tb, fat, "::/EFI/BOOT/BOOTAA64.EFI", Overlay)
		return fat
	}
	Run(tb, "", "mtools", "-c", "mmd", "-i", fat, "::/overlays")
	Copy(tb, fat, "::/overlays/disable-wifi-pi5.dtbo", Overlay)
	for name, content := range Boot {
		Copy(tb, fat, "::/"+name, content)
	}
	return fat
}

// Copy puts a file into a FAT file system.
func Copy(tb testing.TB, fat, name string, content []byte) {
	tb.Helper()
	f := filepath.Join(tb.TempDir(), "f")
	if err := os.WriteFile(f, content, 0o644); err != nil {
		tb.Fatal(err)
	}
	Run(tb, "", "mtools", "-c", "mcopy", "-o", "-i", fat, f, name)
}

// Extract reads a file from a FAT file system; fat may be DISK@@OFFSET.
func Extract(tb testing.TB, fat, name string) []byte {
	tb.Helper()
	f := filepath.Join(tb.TempDir(), "f")
	Run(tb, "", "mtools", "-c", "mcopy", "-n", "-i", fat, name, f)
	b, err := os.ReadFile(f)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// ExtractAll reads all files of a FAT file system into a directory; fat may be DISK@@OFFSET.
func ExtractAll(tb testing.TB, fat string) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "all")
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	Run(tb, "", "mtools", "-c", "mcopy", "-s", "-n", "-i", fat, "::/*", dir)
	return dir
}

func (s System) root(tb testing.TB, dir string, a area) string {
	tb.Helper()
	tree := filepath.Join(dir, "root")
	files := map[string][]byte{
		"usr/lib/os-release":  []byte("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"),
		"usr/bin/dash":        program(),
		"var/lib/dpkg/status": []byte(s.Status),
	}
	switch {
	case s.Bare:
	case s.CloudInit:
		files["usr/bin/cloud-init"] = []byte("#!/usr/bin/python3\n")
	default:
		files["usr/lib/raspberrypi-sys-mods/imager_custom"] = []byte("#!/bin/sh\n")
	}
	for name, content := range files {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	links := map[string]string{"bin": "usr/bin", "usr/bin/sh": "dash", "etc/os-release": "../usr/lib/os-release"}
	if err := os.MkdirAll(filepath.Join(tree, "etc"), 0o755); err != nil {
		tb.Fatal(err)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(tree, name)); err != nil {
			tb.Fatal(err)
		}
	}
	ext := filepath.Join(dir, "root.ext4")
	Run(tb, "", "mkfs.ext4", "-q", "-L", "rootfs", "-d", tree, ext, fmt.Sprintf("%dK", a.count/2))
	return ext
}

// program is a program for arm64 that has nothing but a header.
func program() []byte {
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, v := range []any{uint16(2), uint16(183), uint32(1), uint64(0), uint64(0), uint64(0), uint32(0), uint16(64), uint16(56), uint16(0), uint16(64), uint16(0), uint16(0)} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err) // a buffer takes everything
		}
	}
	return b.Bytes()
}

func place(tb testing.TB, disk, part string, a area) {
	tb.Helper()
	content, err := os.ReadFile(part)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, a.start*512); err != nil {
		tb.Fatal(err)
	}
}

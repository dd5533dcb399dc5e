// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Host says where the kernel tells of disks; the zero value is this machine's.
type Host struct {
	Sys  string // default /sys
	Proc string // default /proc
}

func (h Host) sys(elem ...string) string {
	return filepath.Join(append([]string{or(h.Sys, "/sys")}, elem...)...)
}

func (h Host) proc(elem ...string) string {
	return filepath.Join(append([]string{or(h.Proc, "/proc")}, elem...)...)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Disk is what an image may be written to: a block device, or a file that stands for one.
type Disk struct {
	Path      string // as given
	Device    bool   // a block device; else a plain file
	Size      int64  // in bytes
	Model     string // as the kernel knows it; empty for files
	Serial    string
	Partition bool     // not a whole disk
	ReadOnly  bool     //
	Mounts    []string // where it, or a part of it, is mounted
	Users     []string // what else has it in use: swap, mappings, loop devices
	System    bool     // this machine runs from it
}

// Inspect finds out what is at path; it changes nothing.
func (h Host) Inspect(path string) (Disk, error) {
	d := Disk{Path: path}
	info, err := os.Stat(path)
	if err != nil {
		return d, fmt.Errorf("looking at the card: %w", err)
	}
	switch {
	case info.Mode().IsRegular():
		d.Size = info.Size()
		err = h.file(&d)
	case info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0:
		d.Device = true
		var number string
		if number, err = deviceNumber(info); err == nil {
			err = h.device(&d, number)
		}
	default:
		err = errors.New("neither a disk nor a file")
	}
	if err != nil {
		return d, fmt.Errorf("looking at %s: %w", path, err)
	}
	return d, nil
}

// file looks whether a loop device stands on the file.
func (h Host) file(d *Disk) error {
	whole, err := filepath.Abs(d.Path)
	if err == nil {
		whole, err = filepath.EvalSymlinks(whole)
	}
	if err != nil {
		return err
	}
	loops, err := filepath.Glob(h.sys("block", "loop*", "loop", "backing_file"))
	if err != nil {
		return err
	}
	for _, path := range loops {
		if read(path) == whole {
			d.Users = append(d.Users, "/dev/"+filepath.Base(filepath.Dir(filepath.Dir(path))))
		}
	}
	return nil
}

// device reads what sysfs says of a block device.
func (h Host) device(d *Disk, number string) error {
	dir, err := filepath.EvalSymlinks(h.sys("dev", "block", number))
	if err != nil {
		return err
	}
	sectors, err := strconv.ParseInt(read(filepath.Join(dir, "size")), 10, 64)
	if err != nil {
		return fmt.Errorf("its size: %w", err)
	}
	d.Size = sectors * 512 // whatever its own sectors are
	d.ReadOnly = read(filepath.Join(dir, "ro")) == "1"
	d.Model = strings.TrimSpace(read(filepath.Join(dir, "device/vendor")) + " " + or(read(filepath.Join(dir, "device/model")), read(filepath.Join(dir, "device/name"))))
	d.Serial = or(read(filepath.Join(dir, "device/serial")), read(filepath.Join(dir, "serial")))
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		d.Partition = true
		dir = filepath.Dir(dir) // in use is what any part of the disk is
	}
	numbers := map[string]bool{}
	if err := h.collect(dir, d, numbers); err != nil {
		return err
	}
	if err := h.mounts(d, numbers); err != nil {
		return err
	}
	return h.swaps(d, numbers)
}

// collect notes the numbers of a device, of its partitions and of what is made of them.
func (h Host) collect(dir string, d *Disk, numbers map[string]bool) error {
	number := read(filepath.Join(dir, "dev"))
	if number == "" || numbers[number] {
		return nil
	}
	numbers[number] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), "partition")); err == nil {
			if err := h.collect(filepath.Join(dir, e.Name()), d, numbers); err != nil {
				return err
			}
		}
	}
	holders, err := os.ReadDir(filepath.Join(dir, "holders"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, holder := range holders {
		d.Users = append(d.Users, "/dev/"+holder.Name())
		made, err := filepath.EvalSymlinks(filepath.Join(dir, "holders", holder.Name()))
		if err != nil {
			return err
		}
		if err := h.collect(made, d, numbers); err != nil {
			return err
		}
	}
	return nil
}

// systemMounts are where a machine runs from.
var systemMounts = []string{"/", "/boot", "/boot/efi", "/boot/firmware", "/usr", "/var", "/home"}

// mounts reads proc_pid_mountinfo(5).
func (h Host) mounts(d *Disk, numbers map[string]bool) error {
	f, err := os.Open(h.proc("self/mountinfo"))
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		dash := slices.Index(fields, "-")
		if len(fields) < 5 || dash < 0 || dash+2 >= len(fields) {
			continue
		}
		// btrfs has numbers of its own: then the source tells.
		if !numbers[fields[2]] && !numbers[numberOf(unescape(fields[dash+2]))] {
			continue
		}
		at := unescape(fields[4])
		d.Mounts = append(d.Mounts, at)
		d.System = d.System || slices.Contains(systemMounts, at)
	}
	return lines.Err()
}

func (h Host) swaps(d *Disk, numbers map[string]bool) error {
	f, err := os.Open(h.proc("swaps"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without swap
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 0 && numbers[numberOf(unescape(fields[0]))] {
			d.Users = append(d.Users, "swap on "+unescape(fields[0]))
			d.System = true
		}
	}
	return lines.Err()
}

// numberOf returns the number of a block device as MAJOR:MINOR, and nothing for what is none.
func numberOf(path string) string {
	if !filepath.IsAbs(path) {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode()&fs.ModeDevice == 0 || info.Mode()&fs.ModeCharDevice != 0 {
		return ""
	}
	number, err := deviceNumber(info)
	if err != nil {
		return ""
	}
	return number
}

func deviceNumber(info fs.FileInfo) (string, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.New("its device number is not known")
	}
	return fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))), nil
}

// unescape undoes what the kernel does to blanks in paths: \040.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// read returns a file's content without the blanks around it; nothing for one that cannot be read.
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

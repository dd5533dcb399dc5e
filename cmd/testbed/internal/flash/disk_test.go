// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// kernel is a /sys and /proc in which the null device is a disk: nothing else has a number that any machine knows.
type kernel struct {
	t    *testing.T
	host Host
	dir  string // of the disk
}

func newKernel(t *testing.T) *kernel {
	root := t.TempDir()
	k := &kernel{t: t, host: Host{Sys: filepath.Join(root, "sys"), Proc: filepath.Join(root, "proc")}}
	k.dir = k.host.sys("devices/card/block/sdx")
	k.disk(k.dir, "8:0", "124735488") // 59.5 GiB
	k.write(filepath.Join(k.dir, "device/vendor"), "Generic ")
	k.write(filepath.Join(k.dir, "device/model"), "STORAGE DEVICE  ")
	k.write(filepath.Join(k.dir, "ro"), "0")
	k.write(k.host.proc("self/mountinfo"), "22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n")
	return k
}

func (k *kernel) write(path, content string) {
	k.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		k.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content + "\n"); err != nil {
		k.t.Fatal(err)
	}
}

// disk makes a device with a number.
func (k *kernel) disk(dir, number, sectors string) {
	k.t.Helper()
	k.write(filepath.Join(dir, "dev"), number)
	k.write(filepath.Join(dir, "size"), sectors)
	k.link(k.host.sys("dev/block", number), dir)
}

func (k *kernel) link(name, target string) {
	k.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		k.t.Fatal(err)
	}
}

// check inspects the device of a number as the kernel's files have it, and checks it.
func (k *kernel) check(number string, l Limits) (Disk, error) {
	k.t.Helper()
	d := Disk{Path: "/dev/sdx", Device: true}
	if err := k.host.device(&d, number); err != nil {
		k.t.Fatal(err)
	}
	return d, d.Check(l)
}

func TestCheck(t *testing.T) {
	const mounts = "36 22 %s / %s rw,nosuid shared:9 - %s %s rw\n"
	for _, c := range []struct {
		name   string
		change func(k *kernel)
		number string
		limits Limits
		want   string // nothing: it is taken
	}{
		{name: "a card"},
		{name: "a partition", number: "8:1", want: "/dev/sdx: it is a partition (hint: the whole disk, as /dev/sdX or /dev/mmcblkN)"},
		{name: "read-only", change: func(k *kernel) { _ = os.Remove(filepath.Join(k.dir, "ro")); k.write(filepath.Join(k.dir, "ro"), "1") }, want: "/dev/sdx: it is read-only (hint: the slide on the card's side)"},
		{
			name: "a mounted partition",
			change: func(k *kernel) {
				k.write(k.host.proc("self/mountinfo"), fmt.Sprintf(mounts, "8:1", `/media/my\040card`, "vfat", "/dev/sdx1"))
			},
			want: "/dev/sdx: it is mounted at /media/my card (hint: umount, and see that it is the card that is meant)",
		},
		{
			name: "the system's disk",
			change: func(k *kernel) {
				k.write(k.host.proc("self/mountinfo"), fmt.Sprintf(mounts, "8:1", "/boot/firmware", "vfat", "/dev/sdx1"))
			},
			want: "/dev/sdx: this machine runs from it: /boot/firmware (hint: another device)",
		},
		{
			name: "below a mapping that is mounted",
			change: func(k *kernel) {
				dm := k.host.sys("devices/virtual/block/dm-0")
				k.disk(dm, "252:0", "1000")
				k.link(filepath.Join(k.dir, "sdx1/holders/dm-0"), dm)
				k.write(k.host.proc("self/mountinfo"), fmt.Sprintf(mounts, "252:0", "/", "ext4", "/dev/mapper/root"))
			},
			want: "/dev/sdx: this machine runs from it: /, /dev/dm-0 (hint: another device)",
		},
		{
			name: "a member of an array",
			change: func(k *kernel) {
				k.disk(k.host.sys("devices/virtual/block/md0"), "9:0", "1")
				k.link(filepath.Join(k.dir, "holders/md0"), k.host.sys("devices/virtual/block/md0"))
			},
			want: "/dev/sdx: it is in use: /dev/md0 (hint: another device)",
		},
		{name: "too small", limits: Limits{Image: 1 << 36}, want: "/dev/sdx: it holds 59.5 GiB, the image has 64.0 GiB (hint: a larger card)"},
		{name: "larger than expected", limits: Limits{Expect: 32e9}, want: "/dev/sdx: it holds 59.5 GiB, cards are expected to hold 29.8 GiB (hint: --force if it is the card that is meant)"},
		{name: "larger, and forced", limits: Limits{Expect: 32e9, Force: true}},
		{name: "as large as printed on it", limits: Limits{Expect: 64e9}},
		{
			name: "mounted, and forced",
			change: func(k *kernel) {
				k.write(k.host.proc("self/mountinfo"), fmt.Sprintf(mounts, "8:0", "/mnt", "ext4", "/dev/sdx"))
			},
			limits: Limits{Force: true},
			want:   "/dev/sdx: it is mounted at /mnt (hint: umount, and see that it is the card that is meant)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKernel(t)
			k.disk(filepath.Join(k.dir, "sdx1"), "8:1", "1000")
			k.write(filepath.Join(k.dir, "sdx1/partition"), "1")
			if c.change != nil {
				c.change(k)
			}
			d, err := k.check(or(c.number, "8:0"), c.limits)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%q\nwant %q", got, c.want)
			}
			if c.number == "" && (d.Size != 124735488*512 || d.Describe() != "Generic STORAGE DEVICE") {
				t.Errorf("%+v: %q", d, d.Describe())
			}
		})
	}
}

// Everything that speaks against a disk is said at once.
func TestCheckAll(t *testing.T) {
	err := Disk{Path: "/dev/sdx", Size: 100, Partition: true, ReadOnly: true, Users: []string{"swap on /dev/sdx1"}}.Check(Limits{Image: 1000})
	if n := strings.Count(fmt.Sprint(err), "(hint: "); n != 4 {
		t.Errorf("%d problems: %v", n, err)
	}
}

func TestInspectNoDisk(t *testing.T) {
	for path, want := range map[string]string{
		"/dev/null":                           "looking at /dev/null: neither a disk nor a file",
		t.TempDir():                           "neither a disk nor a file",
		filepath.Join(t.TempDir(), "nothing"): "looking at the card: stat ",
	} {
		if _, err := (Host{}).Inspect(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s", path, err, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`/a\040b`: "/a b", `\134`: `\`, `/x\9`: `/x\9`, "/plain": "/plain", `\04`: `\04`} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A file that another process writes to is not written to twice.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "card")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := open(Disk{Path: path}); err == nil || !strings.Contains(err.Error(), "another program has it locked") {
		t.Errorf("%v", err)
	}
}

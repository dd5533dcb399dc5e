// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/imagetest"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/partition"
)

// loop makes a block device of a file of that size, with root.
func loop(t *testing.T, size int64) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("loop devices need root")
		}
		t.Skip("SKIPPED: loop devices need root")
	}
	imagetest.Need(t, "losetup", "unshare", "mkfs.ext4")
	path := filepath.Join(t.TempDir(), "card")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	dev := strings.TrimSpace(imagetest.Run(t, "", "losetup", "--find", "--show", "--partscan", path))
	t.Cleanup(func() { imagetest.Run(t, "", "losetup", "--detach", dev) })
	return dev
}

const cardSize = 128 << 20

// A block device is written and read back without the page cache.
func TestLoop(t *testing.T) {
	dev := loop(t, cardSize)
	src := system(t)
	d, err := Host{}.Inspect(dev)
	if err != nil || !d.Device || d.Size != cardSize || d.Check(Limits{Image: src.Size(), Expect: cardSize}) != nil {
		t.Fatalf("%+v, %v", d, err)
	}
	result, err := Write(t.Context(), d, src, options)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dev)
	if err != nil || !bytes.Equal(got[:src.Size()], src) || len(got) != cardSize {
		t.Errorf("the device has %d bytes, %v; %+v", len(got), err, result)
	}
	table := imagetest.Run(t, "", "sfdisk", "--dump", dev)
	if n := strings.Count(table, "start="); n != 2 {
		t.Errorf("sfdisk sees %d partitions:\n%s", n, table)
	}
}

// system is the image of an operating system in small.
func system(t *testing.T) picture {
	b, err := os.ReadFile(imagetest.System{CloudInit: true}.Disk(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is mounted is seen where it can be, and refused by the kernel where it cannot: in another mount namespace.
func TestMounted(t *testing.T) {
	dev := loop(t, cardSize)
	imagetest.Run(t, "", "mkfs.ext4", "-q", dev)
	at := t.TempDir()
	holder := exec.Command("unshare", "--mount", "sh", "-c", `mount -o ro,noload "$0" "$1" && exec "$2" -test.run '^TestHelper$'`, dev, at, self(t))
	holder.Env = append(os.Environ(), "FLASH_HELPER=check "+dev)
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	holder.Stderr = os.Stderr
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if want := fmt.Sprintf("%s: it is mounted at %s (hint: umount", dev, at); err != nil || !strings.HasPrefix(said, want) {
		t.Errorf("inside of the namespace: %q, %v; want %q", said, err, want)
	}
	d, err := Host{}.Inspect(dev)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(dev)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), d, system(t), options); err == nil || !strings.Contains(err.Error(), "it is in use (hint: unmounted everywhere") {
		t.Errorf("from outside: %v", err)
	}
	if after, err := os.ReadFile(dev); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was written to (%v)", err)
	}
	in.Close()
	if err := holder.Wait(); err != nil {
		t.Errorf("the holder: %v", err)
	}
}

// A writer that is killed in the middle leaves the mark; nobody sees partitions; the next write does it again.
func TestKilled(t *testing.T) {
	for name, card := range map[string]func(t *testing.T) string{
		"device": func(t *testing.T) string { return loop(t, cardSize) },
		"file": func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "card")
			if err := os.WriteFile(path, make([]byte, cardSize), 0o644); err != nil {
				t.Fatal(err)
			}
			return path
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, src := card(t), system(t)
			image := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(image, src, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, after := range []int64{0, 5 << 20, 40 << 20} {
				writer := exec.Command(self(t), "-test.run", "^TestHelper$")
				writer.Env = append(os.Environ(), fmt.Sprintf("FLASH_HELPER=write %s %s %d", path, image, after))
				in, err := writer.StdinPipe() // open, so that the writer waits
				if err != nil {
					t.Fatal(err)
				}
				out, err := writer.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := writer.Start(); err != nil {
					t.Fatal(err)
				}
				if said, err := bufio.NewReader(out).ReadString('\n'); said != "here\n" {
					t.Fatalf("the writer: %q, %v", said, err)
				}
				if err := writer.Process.Kill(); err != nil { // SIGKILL
					t.Fatal(err)
				}
				_ = writer.Wait()
				in.Close()
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := partition.Read(f, cardSize); !errors.Is(err, partition.ErrNone) {
					t.Errorf("killed after %d bytes, the card has partitions: %v", after, err)
				}
				f.Close()
			}
			d, err := Host{}.Inspect(path)
			if err != nil {
				t.Fatal(err)
			}
			result, err := Write(t.Context(), d, src, options)
			if err != nil {
				t.Fatal(err)
			}
			if m := result.Torn; m == nil || m.Node != options.Node || m.Image != options.Image {
				t.Errorf("the next write saw %+v", m)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got[:len(src)], src) {
				t.Errorf("written again, the card has something else (%v)", err)
			}
			again, err := Write(t.Context(), d, src, options)
			if err != nil || again.Torn != nil {
				t.Errorf("a write after a whole one: %+v, %v", again, err)
			}
		})
	}
}

func self(t *testing.T) string {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHelper is what other processes of these tests run.
func TestHelper(t *testing.T) {
	words := strings.Fields(os.Getenv("FLASH_HELPER"))
	if len(words) == 0 {
		return
	}
	d, err := Host{}.Inspect(words[1])
	if err != nil {
		t.Fatal(err)
	}
	switch words[0] {
	case "check":
		fmt.Println(d.Check(Limits{}))
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "write":
		b, err := os.ReadFile(words[2])
		if err != nil {
			t.Fatal(err)
		}
		after, err := strconv.ParseInt(words[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = Write(t.Context(), d, &stalling{picture: b, after: after}, options)
	}
}

// stalling is an image that waits for ever when so much of it has been written.
type stalling struct {
	picture
	after int64
}

func (s *stalling) ReadAt(b []byte, off int64) (int, error) {
	if off >= s.after {
		fmt.Println("here")
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	return s.picture.ReadAt(b, off)
}

// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot/slottest"
)

const (
	testImageSize = 6<<20 + 512 // no whole number of blocks
	testDiskSize  = 20 << 20
)

// testImage returns an image with two partitions of bytes that follow from its id.
func testImage(id string) []byte {
	image := make([]byte, testImageSize)
	source := rand.NewChaCha8(sha256.Sum256([]byte(id)))
	_, _ = source.Read(image)
	table := slottest.Table([4]byte(image[440:444]),
		slot.Entry{Type: 0x0c, Start: 2048, Length: 2048}, slot.Entry{Type: 0x83, Start: 4096, Length: testImageSize/512 - 4096})
	copy(image, table.Bytes())
	return image
}

func writeOrder(id string, image []byte) order.Order {
	sum := sha256.Sum256(image)
	return order.Order{
		Node: "worker-1", Action: order.Write, Image: order.Image{ID: id, Size: int64(len(image)), SHA256: hex.EncodeToString(sum[:])},
		ImagePath: "/i", ReportPath: "/r",
	}
}

func source(image []byte) Source {
	return func(_ context.Context, _ order.Order, from int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(image[from:])), nil
	}
}

// memory is a disk without direct access, whose power is cut at the write after the last that is allowed: of that
// one, only some of its sectors arrive.
type memory struct {
	b      []byte
	left   int   // writes; negative: any number
	rotten int64 // the byte at this offset is not written; 0: none
}

var errCut = errors.New("the power is cut")

func (m *memory) ReadAt(p []byte, at int64) (int, error) { return copy(p, m.b[at:]), nil }

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if m.left == 0 {
		// A sector arrives whole or not at all; which of several do, nobody knows.
		for i := 0; i+sectorSize <= len(p); i += sectorSize {
			if rand.IntN(2) == 0 {
				copy(m.b[at+int64(i):], p[i:i+sectorSize])
			}
		}
		return 0, errCut
	}
	m.left--
	was := m.b[m.rotten]
	copy(m.b[at:], p)
	if m.rotten > 0 {
		m.b[m.rotten] = was
	}
	return len(p), nil
}

func (m *memory) Sync() error  { return nil }
func (m *memory) Close() error { return nil }

func (m *memory) disk(t *testing.T) *Disk {
	t.Helper()
	buf, err := alignedBuffer(2 * blockSize)
	if err != nil {
		t.Fatal(err)
	}
	return &Disk{f: m, size: int64(len(m.b)), buf: buf}
}

// boots returns the id of the image that a machine with this disk boots: its first two partitions must have that
// image's bytes, all of them. Empty: it boots nothing, and asks the network again.
func boots(t *testing.T, disk []byte, ids ...string) string {
	t.Helper()
	table, err := slot.ReadTable(disk)
	if err != nil {
		return ""
	}
	e := table.Entries()
	if e[0].Type == 0 {
		return ""
	}
	for _, id := range ids {
		image := testImage(id)
		it, err := slot.ReadTable(image)
		if err != nil {
			t.Fatal(err)
		}
		same := table.Signature() == it.Signature()
		parts := it.Entries()
		for i, p := range parts[:2] {
			at := int(e[i].Start) * sectorSize
			want := image[int(p.Start)*sectorSize:][:int(p.Length)*sectorSize]
			same = same && at+len(want) <= len(disk) && bytes.Equal(disk[at:at+len(want)], want)
		}
		if same {
			return id
		}
	}
	t.Fatalf("the disk boots what is none of the images: %+v", e)
	return ""
}

func carry(t *testing.T, d *Disk, o order.Order, image []byte) (order.Report, error) {
	t.Helper()
	return Carry(t.Context(), o, d, source(image), func(order.Report) {})
}

// mustWrite puts an image onto a disk.
func mustWrite(t *testing.T, m *memory, id string) order.Report {
	t.Helper()
	image := testImage(id)
	r, err := carry(t, m.disk(t), writeOrder(id, image), image)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestImagesAlternateAndAreKept(t *testing.T) {
	m := &memory{b: make([]byte, testDiskSize), left: -1}
	_, _ = rand.NewChaCha8([32]byte{}).Read(m.b) // what was on the card before
	previous := ""
	for i := range 4 {
		id := fmt.Sprint("image-", i)
		r := mustWrite(t, m, id)
		if r.Active != id || r.Previous != previous || r.Step != order.Finished {
			t.Fatalf("%+v, want %s kept", r, previous)
		}
		if got := boots(t, m.b, id); got != id {
			t.Fatalf("boots %q, want %q", got, id)
		}
		previous = id
	}
	r, err := carry(t, m.disk(t), order.Order{Node: "worker-1", Action: order.Revert, ReportPath: "/r"}, nil)
	if err != nil || r.Active != "image-2" || r.Previous != "image-3" {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := boots(t, m.b, "image-2"); got != "image-2" {
		t.Errorf("after going back: boots %q", got)
	}
}

// TestPowerCutAnywhere cuts the power at every write there is: the machine boots the system from before, nothing, or
// the new one, never a part of one; and writing again makes it whole.
func TestPowerCutAnywhere(t *testing.T) {
	for _, before := range []string{"", "old"} {
		start := make([]byte, testDiskSize)
		if before != "" {
			m := &memory{b: start, left: -1}
			mustWrite(t, m, "older")
			mustWrite(t, m, before)
		}
		image := testImage("new")
		seen := map[string]int{}
		for writes := 0; ; writes++ {
			m := &memory{b: bytes.Clone(start), left: writes}
			_, err := carry(t, m.disk(t), writeOrder("new", image), image)
			if err == nil {
				if got := boots(t, m.b, "new"); got != "new" {
					t.Errorf("boots %q", got)
				}
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			got := boots(t, m.b, "old", "new")
			seen[got]++
			if got != before && got != "new" {
				t.Errorf("power cut at write %d: boots %q", writes, got)
			}
			m.left = -1
			mustWrite(t, m, "new")
			if got := boots(t, m.b, "new"); got != "new" {
				t.Errorf("written again after a cut at write %d: boots %q", writes, got)
			}
		}
		if seen[before] < 3 {
			t.Errorf("the power was cut %v times", seen)
		}
	}
}

func TestWholeDiskWhereThereIsNoRoom(t *testing.T) {
	m := &memory{b: make([]byte, 8<<20), left: -1}
	r := mustWrite(t, m, "big")
	if r.Active != "big" || r.Previous != "" || !strings.Contains(r.Note, "no room") {
		t.Errorf("%+v", r)
	}
	if !bytes.Equal(m.b[:testImageSize], testImage("big")) {
		t.Error("the disk is not the image")
	}
	if _, err := carry(t, m.disk(t), order.Order{Node: "n", Action: order.Revert, ReportPath: "/r"}, nil); err == nil || !strings.Contains(err.Error(), "no second system") {
		t.Errorf("reverting: %v", err)
	}
}

func TestNothingBootsThatIsNotTheImage(t *testing.T) {
	image := testImage("new")
	other := testImage("other")
	tests := []struct {
		name   string
		bytes  []byte
		rotten int64
		want   string
	}{
		{"other bytes", other, 0, "not " + writeOrder("new", image).Image.SHA256},
		{"too few bytes", image[:5<<20], 0, "reading the image at byte"},
		{"too many bytes", append(bytes.Clone(image), 1), 0, "1 bytes follow the"},
		{"a card that rots", image, 14 << 20, "reads back other bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &memory{b: make([]byte, testDiskSize), left: -1}
			mustWrite(t, m, "old")
			m.rotten = tt.rotten
			_, err := carry(t, m.disk(t), writeOrder("new", image), tt.bytes)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if got := boots(t, m.b, "old"); got != "old" {
				t.Errorf("boots %q", got)
			}
		})
	}
}

// TestRealFile writes past the page cache where the file system can.
func TestRealFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, testDiskSize); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"one", "two"} {
		d, err := OpenDisk(path)
		if err != nil {
			t.Fatal(err)
		}
		image := testImage(id)
		if _, err := carry(t, d, writeOrder(id, image), image); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := boots(t, b, "two"); got != "two" {
		t.Errorf("boots %q", got)
	}
}

func TestImageLargerThanTheDisk(t *testing.T) {
	m := &memory{b: make([]byte, 4<<20), left: -1}
	image := testImage("new")
	if _, err := carry(t, m.disk(t), writeOrder("new", image), image); err == nil || !strings.Contains(err.Error(), "the disk 4194304") {
		t.Errorf("error %v", err)
	}
	if !bytes.Equal(m.b, make([]byte, 4<<20)) {
		t.Error("the disk was written")
	}
}

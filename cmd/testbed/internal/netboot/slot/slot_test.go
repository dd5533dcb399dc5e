// SPDX-License-Identifier: Apache-2.0

package slot_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot/slottest"
)

// gigabyte in sectors.
const gigabyte = 1 << 30 / slot.SectorSize

// image is the table of a Raspberry Pi OS image: 512 MiB of FAT, then ext4.
func image(signature byte) slot.Table {
	return slottest.Table([4]byte{signature, 2, 3, 4},
		slot.Entry{Type: 0x0c, Start: 8192, Length: gigabyte / 2},
		slot.Entry{Type: 0x83, Start: 8192 + gigabyte/2, Length: 2 * gigabyte})
}

const imageSectors = 3 * gigabyte

// write is what the agent leaves of a disk.
func write(t *testing.T, signature byte, id string, old *slot.Disk) slot.Plan {
	t.Helper()
	p, err := slot.Place(image(signature), id, imageSectors, 64*gigabyte, old)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reread reads a disk back from its bytes.
func reread(t *testing.T, d slot.Disk) *slot.Disk {
	t.Helper()
	head := make([]byte, (slot.RecordSector+1)*slot.SectorSize)
	copy(head, d.Table.Bytes())
	record, err := d.Record.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	copy(head[slot.RecordSector*slot.SectorSize:], record)
	got, err := slot.Read(head, d.Sectors)
	if err != nil {
		t.Fatal(err)
	}
	return &got
}

func TestThreeImagesOneAfterTheOther(t *testing.T) {
	const middle = 32 * gigabyte
	root := uint32(8192 + gigabyte/2)
	first := write(t, 1, "one", nil)
	want := [4]slot.Entry{
		{Type: 0x0c, Start: 8192, Length: gigabyte / 2},
		{Type: 0x83, Start: root, Length: middle - root},
		{Type: 0xda, Start: middle, Length: middle}, // or a first boot would stretch the root over it
	}
	if diff := cmp.Diff(want, first.After.Table.Entries()); diff != "" {
		t.Error(diff)
	}
	disk := reread(t, first.After)
	if disk.ActiveImage() != "one" || disk.PreviousImage() != "" || first.Kept != "" {
		t.Errorf("boots %q, keeps %q", disk.ActiveImage(), disk.PreviousImage())
	}

	second := write(t, 2, "two", disk)
	if second.Half != 1 || second.Shift != middle || second.Kept != "one" {
		t.Errorf("second image in half %d, shifted by %d, keeping %q", second.Half, second.Shift, second.Kept)
	}
	want = [4]slot.Entry{
		{Type: 0x0c, Start: middle + 8192, Length: gigabyte / 2},
		{Type: 0x83, Start: middle + root, Length: middle - root},
		{Type: 0x0c, Start: 8192, Length: gigabyte / 2},
		{Type: 0x83, Start: root, Length: middle - root},
	}
	if diff := cmp.Diff(want, second.After.Table.Entries()); diff != "" {
		t.Error(diff)
	}
	if before := reread(t, second.Before); before.ActiveImage() != "one" || before.PreviousImage() != "" {
		t.Errorf("while two is written: boots %q, keeps %q", before.ActiveImage(), before.PreviousImage())
	}
	disk = reread(t, second.After)
	if disk.ActiveImage() != "two" || disk.PreviousImage() != "one" || disk.Table.Signature()[0] != 2 {
		t.Errorf("boots %q, keeps %q", disk.ActiveImage(), disk.PreviousImage())
	}

	third := write(t, 3, "three", disk)
	if third.Half != 0 || third.Shift != 0 || third.Kept != "two" {
		t.Errorf("third image in half %d, shifted by %d, keeping %q", third.Half, third.Shift, third.Kept)
	}
	if before := reread(t, third.Before); before.ActiveImage() != "two" || before.PreviousImage() != "" || before.Table.Entries()[2].Start != 2048 {
		t.Errorf("while three is written: boots %q, keeps %q, %v", before.ActiveImage(), before.PreviousImage(), before.Table.Entries())
	}
}

func TestRevertAndBack(t *testing.T) {
	disk := reread(t, write(t, 2, "two", reread(t, write(t, 1, "one", nil).After)).After)
	back, err := disk.Revert()
	if err != nil {
		t.Fatal(err)
	}
	was := reread(t, back)
	if was.ActiveImage() != "one" || was.PreviousImage() != "two" || was.Table.Signature()[0] != 1 || was.Table.Entries()[0].Start != 8192 {
		t.Errorf("boots %q of signature %x, keeps %q", was.ActiveImage(), was.Table.Signature(), was.PreviousImage())
	}
	again, err := was.Revert()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(disk.Table.Bytes(), again.Table.Bytes()); diff != "" {
		t.Error(diff)
	}
	if _, err := reread(t, write(t, 1, "one", nil).After).Revert(); err == nil {
		t.Error("a disk with one system was reverted")
	}
}

func TestNoRoom(t *testing.T) {
	tests := []struct {
		name    string
		table   slot.Table
		sectors uint64
		room    bool // the error is that of a disk that is written whole instead
	}{
		{"a card of 4 GB", image(1), 4 * gigabyte, true},
		{"one partition", slottest.Table([4]byte{}, slot.Entry{Type: 0x83, Start: 2048, Length: 2048}), 64 * gigabyte, true},
		{"a partition at the begin", slottest.Table([4]byte{}, slot.Entry{Type: 0x0c, Start: 63, Length: 2048}, slot.Entry{Type: 0x83, Start: 8192, Length: 2048}), 64 * gigabyte, true},
		{"partitions over each other", slottest.Table([4]byte{}, slot.Entry{Type: 0x0c, Start: 2048, Length: 8192}, slot.Entry{Type: 0x83, Start: 4096, Length: 2048}), 64 * gigabyte, true},
		{"a partition behind the image's end", slottest.Table([4]byte{}, slot.Entry{Type: 0x0c, Start: 2048, Length: 2048}, slot.Entry{Type: 0x83, Start: 8192, Length: 3 * gigabyte}), 64 * gigabyte, false},
	}
	for _, tt := range tests {
		if _, err := slot.Place(tt.table, "x", imageSectors, tt.sectors, nil); err == nil || errors.Is(err, slot.ErrNoRoom) != tt.room {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	disk := slot.Disk{Sectors: 64 * gigabyte}
	if p, err := slot.Place(image(1), "one", imageSectors, disk.Sectors, nil); err == nil {
		record, _ := p.After.Record.Bytes()
		f.Add(p.After.Table.Bytes(), record)
	}
	f.Add(make([]byte, slot.SectorSize), make([]byte, slot.SectorSize))
	f.Fuzz(func(t *testing.T, table, record []byte) {
		head := make([]byte, (slot.RecordSector+1)*slot.SectorSize)
		copy(head, table[:min(len(table), slot.SectorSize)])
		copy(head[slot.RecordSector*slot.SectorSize:], record[:min(len(record), slot.SectorSize)])
		d, err := slot.Read(head, 64*gigabyte)
		if err != nil {
			return
		}
		// What can be read can be gone on with.
		if p, err := slot.Place(image(9), "next", imageSectors, 64*gigabyte, &d); err == nil && p.Half == d.Active() {
			t.Errorf("the next image would be written over the system that boots: %+v", d)
		}
		if r, err := d.Revert(); err == nil && r.Active() == d.Active() && d.Table.Entries()[2].Start != d.Table.Entries()[0].Start {
			if (r.Table.Entries()[0].Start >= 32*gigabyte) != (d.Table.Entries()[0].Start >= 32*gigabyte) {
				t.Errorf("reverting changed nothing: %+v", d)
			}
		}
	})
}

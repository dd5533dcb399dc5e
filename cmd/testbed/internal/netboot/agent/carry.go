// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot"
)

const (
	sectorSize = slot.SectorSize
	headSize   = (slot.RecordSector + 1) * sectorSize // what is written last: all before the first partition
)

// Source opens an image from an offset on.
type Source func(ctx context.Context, o order.Order, from int64) (io.ReadCloser, error)

// Carry carries out an order on a disk and returns the report that it is finished. Tell hears how it goes.
//
// Nothing that is cut off half-way boots half a system: what boots is in the disk's first sector, which is
// written last, and before anything else is overwritten it is made to name only what stays whole.
func Carry(ctx context.Context, o order.Order, disk *Disk, image Source, tell func(order.Report)) (order.Report, error) {
	if err := o.Check(); err != nil {
		return order.Report{}, fmt.Errorf("reading the order: %w", err)
	}
	old, err := readDisk(disk)
	if err != nil {
		return order.Report{}, err
	}
	if o.Action == order.Revert {
		return revert(disk, old, tell)
	}
	if o.Image.Size > disk.Size() {
		return order.Report{}, fmt.Errorf("the image has %d bytes, the disk %d", o.Image.Size, disk.Size())
	}
	w := &writer{order: o, disk: disk, tell: tell, whole: sha256.New()}
	stream, err := image(ctx, o, 0)
	if err != nil {
		return order.Report{}, err
	}
	defer stream.Close()
	return w.write(stream, old)
}

// readDisk says how the disk is shared by two systems; nil: it is not, or not any more.
func readDisk(disk *Disk) (*slot.Disk, error) {
	if disk.Size() < headSize {
		return nil, fmt.Errorf("the disk has %d bytes, too few for any system", disk.Size())
	}
	head, err := alignedBuffer(headSize)
	if err != nil {
		return nil, err
	}
	defer unix.Munmap(head)
	if err := disk.read(head, 0); err != nil {
		return nil, err
	}
	d, err := slot.Read(head, uint64(disk.Size()/sectorSize))
	if err != nil {
		return nil, nil //nolint:nilerr // a disk that is none of ours is no error: it is written over
	}
	return &d, nil
}

// revert lets the disk boot what it booted before.
func revert(disk *Disk, old *slot.Disk, tell func(order.Report)) (order.Report, error) {
	if old == nil {
		return order.Report{}, errors.New("the disk has no second system to go back to")
	}
	to, err := old.Revert()
	if err != nil {
		return order.Report{}, err
	}
	tell(order.Report{Step: order.Switching})
	if err := disk.writeSector(0, to.Table.Bytes()); err != nil {
		return order.Report{}, err
	}
	return order.Report{Step: order.Finished, Active: to.ActiveImage(), Previous: to.PreviousImage()}, nil
}

// writer is one image on its way to one disk.
type writer struct {
	order order.Order
	disk  *Disk
	tell  func(order.Report)

	whole hash.Hash // of the image as it came
	shift int64     // bytes by which what follows the head moves
}

func (w *writer) write(stream io.Reader, old *slot.Disk) (order.Report, error) {
	size := w.order.Image.Size
	if size < headSize {
		return order.Report{}, fmt.Errorf("the image has %d bytes, fewer than any system", size)
	}
	head := make([]byte, headSize)
	if _, err := io.ReadFull(stream, head); err != nil {
		return order.Report{}, fmt.Errorf("reading the image: %w", err)
	}
	w.whole.Write(head)
	image := bytes.Clone(head) // that of the disk will be another
	finish, result, err := w.prepare(head, old)
	if err != nil {
		return order.Report{}, err
	}
	if err := w.copy(stream); err != nil {
		return order.Report{}, err
	}
	if got := hex.EncodeToString(w.whole.Sum(nil)); got != w.order.Image.SHA256 {
		return order.Report{}, fmt.Errorf("the image that came has the SHA-256 %s, not %s", got, w.order.Image.SHA256)
	}
	if err := w.verify(image); err != nil {
		return order.Report{}, err
	}
	w.tell(order.Report{Step: order.Switching})
	if err := finish(); err != nil {
		return order.Report{}, err
	}
	return result, nil
}

// prepare makes the disk ready for the payload, and returns what makes the system boot once that is verified.
func (w *writer) prepare(head []byte, old *slot.Disk) (finish func() error, result order.Report, err error) {
	result = order.Report{Step: order.Finished, Active: w.order.Image.ID}
	sectors := uint64(w.disk.Size() / sectorSize)
	var plan slot.Plan
	table, err := slot.ReadTable(head)
	if err == nil {
		plan, err = slot.Place(table, w.order.Image.ID, uint64(w.order.Image.Size/sectorSize), sectors, old)
	}
	switch {
	case errors.Is(err, slot.ErrNoRoom) || errors.Is(err, slot.ErrGUID):
		// The disk gets the image as it is, and nothing to go back to.
		result.Note = err.Error()
		return func() error { return w.writeHead(head) }, result, w.disk.writeSector(0, make([]byte, sectorSize))
	case err != nil:
		return nil, result, fmt.Errorf("reading the image: %w", err)
	}
	w.shift = int64(plan.Shift) * sectorSize
	result.Previous = plan.Kept
	if old == nil {
		result.Note = "the disk had no system that could be kept"
	}
	record, err := plan.After.Record.Bytes()
	if err != nil {
		return nil, result, err
	}
	finish = func() error {
		copy(head, plan.After.Table.Bytes())
		copy(head[slot.RecordSector*sectorSize:], record)
		return w.writeHead(head)
	}
	if old == nil {
		return finish, result, w.disk.writeSector(0, make([]byte, sectorSize))
	}
	before, err := plan.Before.Record.Bytes()
	if err != nil {
		return nil, result, err
	}
	// The table goes first: a record with a half that is not there misleads nobody, a table without its record does.
	return finish, result, errors.Join(w.disk.writeSector(0, plan.Before.Table.Bytes()), w.disk.writeSector(slot.RecordSector, before))
}

// copy writes what follows the head.
func (w *writer) copy(stream io.Reader) error {
	buf, err := alignedBuffer(chunkSize)
	if err != nil {
		return err
	}
	defer unix.Munmap(buf)
	for at := int64(headSize); at < w.order.Image.Size; {
		n := min(int64(len(buf)), w.order.Image.Size-at)
		if _, err := io.ReadFull(stream, buf[:n]); err != nil {
			return fmt.Errorf("reading the image at byte %d: %w", at, err)
		}
		w.whole.Write(buf[:n])
		if err := w.disk.write(w.padded(buf, n), w.shift+at); err != nil {
			return err
		}
		at += n
		w.tell(order.Report{Step: order.Writing, Done: at, Total: w.order.Image.Size})
	}
	// A stream that goes on is another image.
	if n, err := io.Copy(io.Discard, stream); err != nil {
		return fmt.Errorf("reading the image's end: %w", err)
	} else if n > 0 {
		return fmt.Errorf("reading the image: %d bytes follow the %d that it has", n, w.order.Image.Size)
	}
	return w.disk.forget()
}

// padded rounds a chunk up to whole blocks; what follows an image's last sector is nobody's.
func (w *writer) padded(buf []byte, n int64) []byte {
	whole := (n + blockSize - 1) / blockSize * blockSize
	clear(buf[n:whole])
	return buf[:whole]
}

// verify reads back what copy wrote, which with the image's head must have the hash of the order.
func (w *writer) verify(head []byte) error {
	buf, err := alignedBuffer(chunkSize)
	if err != nil {
		return err
	}
	defer unix.Munmap(buf)
	got := sha256.New()
	got.Write(head)
	for at := int64(headSize); at < w.order.Image.Size; {
		n := min(int64(len(buf)), w.order.Image.Size-at)
		if err := w.disk.read(w.padded(buf, n), w.shift+at); err != nil {
			return err
		}
		got.Write(buf[:n])
		at += n
		w.tell(order.Report{Step: order.Verifying, Done: at, Total: w.order.Image.Size})
	}
	if hex.EncodeToString(got.Sum(nil)) != w.order.Image.SHA256 {
		return errors.New("the disk reads back other bytes than were written (hint: a card that is worn out, or smaller than it says)")
	}
	return nil
}

// writeHead writes all before the first partition, its first sector last, and reads it back.
func (w *writer) writeHead(head []byte) error {
	buf, err := alignedBuffer(headSize)
	if err != nil {
		return err
	}
	defer unix.Munmap(buf)
	// A PC's boot loader and the record come before the sector that makes them count.
	if err := w.disk.read(buf[:blockSize], 0); err != nil {
		return err
	}
	copy(buf[sectorSize:], head[sectorSize:])
	if err := errors.Join(w.disk.write(buf, 0), w.disk.sync(), w.disk.writeSector(0, head), w.disk.forget()); err != nil {
		return err
	}
	if err := w.disk.read(buf, 0); err != nil {
		return err
	}
	if !bytes.Equal(buf, head) {
		return errors.New("the disk reads back another partition table than was written")
	}
	return nil
}

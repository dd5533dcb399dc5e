// SPDX-License-Identifier: Apache-2.0

// Package slottest makes partition tables for tests.
package slottest

import (
	"encoding/binary"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot"
)

// Table returns a master boot record with these partitions, written from the format's description and not with what
// is tested.
func Table(signature [4]byte, entries ...slot.Entry) slot.Table {
	sector := make([]byte, slot.SectorSize)
	copy(sector[440:], signature[:])
	for i, e := range entries {
		b := sector[446+16*i:]
		if e.Boot {
			b[0] = 0x80
		}
		b[4] = e.Type
		binary.LittleEndian.PutUint32(b[8:], e.Start)
		binary.LittleEndian.PutUint32(b[12:], e.Length)
	}
	sector[510], sector[511] = 0x55, 0xaa
	t, err := slot.ReadTable(sector)
	if err != nil {
		panic(err)
	}
	return t
}

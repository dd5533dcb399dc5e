// SPDX-License-Identifier: Apache-2.0

// Package order is what the netboot service and the agent in a node's initramfs say to each other: one order a
// node, and what became of it. Both speak JSON over HTTP; a token in the order's address, which the node got by
// TFTP, says which order it is about.
package order

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Parameters of the kernel's command line, by which the agent finds its order.
const (
	ParamURL     = "testbed.order"   // address of the order: http://192.0.2.1:8069/v1/order/TOKEN
	ParamMAC     = "testbed.mac"     // of the interface that the node booted from
	ParamAddress = "testbed.address" // that this interface shall have: 192.0.2.11/24
)

// Action is what the agent shall do.
type Action string

// The actions.
const (
	Write  Action = "write"  // put the image onto the disk and boot from it
	Revert Action = "revert" // boot the system again that was there before the last write
)

// Order is what a node is told to do.
type Order struct {
	Node   string `json:"node"`
	Action Action `json:"action"`
	Image  Image  `json:"image"`          // of Write
	Disk   string `json:"disk,omitempty"` // "mmcblk0"; empty: the machine's only disk, or its SD card
	// Paths below the host of the order's own address. Image takes ?from=OFFSET, and answers with what follows
	// that offset of the image, compressed with zstd (RFC 8878).
	ImagePath  string `json:"imagePath"`
	ReportPath string `json:"reportPath"`
}

// Image is a whole disk: partition table, boot partition and root.
type Image struct {
	ID     string `json:"id"`     // what the node will say that it runs
	Size   int64  `json:"size"`   // bytes, a multiple of 512
	SHA256 string `json:"sha256"` // of these bytes, hexadecimal
}

// Check says whether the order can be carried out as it is.
func (o Order) Check() error {
	switch {
	case o.Node == "":
		return errors.New("the order is for no node")
	case o.Action != Write && o.Action != Revert:
		return fmt.Errorf("unknown action %q", o.Action)
	case strings.ContainsAny(o.Disk, "/ "):
		return fmt.Errorf("%q is no disk", o.Disk)
	case o.ReportPath == "":
		return errors.New("the order takes no reports")
	case o.Action == Revert:
		return nil
	case o.Image.ID == "" || len(o.Image.ID) > MaxID:
		return fmt.Errorf("an image's id has 1 to %d bytes, this one %d", MaxID, len(o.Image.ID))
	case o.Image.Size <= 0 || o.Image.Size%512 != 0:
		return fmt.Errorf("no image has %d bytes", o.Image.Size)
	case len(o.Image.SHA256) != 64:
		return fmt.Errorf("%q is no SHA-256", o.Image.SHA256)
	case o.ImagePath == "":
		return errors.New("the order says not where the image is")
	}
	return nil
}

// MaxID is how long the id of an image may be, in bytes: two of them are kept in one sector.
const MaxID = 128

// Step is how far an order is. The first two are seen by the service, the others reported by the agent.
type Step string

// The steps, in order; Failed may follow any.
const (
	Asked     Step = "asked"     // the firmware has asked for an address
	Loading   Step = "loading"   // the firmware loads kernel and initramfs
	Started   Step = "started"   // the agent has its order
	Writing   Step = "writing"   // Done of Total bytes
	Verifying Step = "verifying" // Done of Total bytes read back
	Switching Step = "switching" // the partition table is written
	Finished  Step = "finished"  // the node restarts, to boot from its disk
	Failed    Step = "failed"
)

// Report is what became of an order so far.
type Report struct {
	Step  Step  `json:"step"`
	Done  int64 `json:"done,omitempty"`  // bytes
	Total int64 `json:"total,omitempty"` // bytes
	// Of Started: the disk; of Finished: what the disk now boots, and what it can be put back to.
	Disk     string    `json:"disk,omitempty"`     // "mmcblk0 SC64G 63864569856 bytes"
	Active   string    `json:"active,omitempty"`   // id of an image
	Previous string    `json:"previous,omitempty"` // id of an image; empty: none
	Note     string    `json:"note,omitempty"`     // why there is no previous system
	Error    string    `json:"error,omitempty"`    // of Failed: one line
	At       time.Time `json:"at"`                 // by the clock of who says it
}

// Last says whether no other report follows.
func (r Report) Last() bool { return r.Step == Finished || r.Step == Failed }

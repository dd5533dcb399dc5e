// SPDX-License-Identifier: Apache-2.0

// Package netboot writes nodes anew without anybody touching them: a service answers the firmware of those nodes
// that are to be written, and of no others, by DHCP (RFC 2131) with PXE's vendor options, and gives them a kernel
// and an initramfs by TFTP (RFC 1350, 2347 to 2349) or HTTP. The agent in there (package agent) takes an order
// (package order), streams an image onto the disk, reads it back, and lets the machine boot from it. The system
// that was there before stays beside the new one (package slot) and is put back if the node does not come back.
//
// docs/testbed/netboot.md has the whole of it, and what was run on hardware and what in QEMU.
package netboot

// SPDX-License-Identifier: Apache-2.0

// Package image makes what is written to a node's card: an operating system as its makers publish it, and on its boot
// partition what makes the node the one that the inventory describes (docs/testbed/images.md).
//
// The operating system is fetched once, checked against the hash that the inventory pins, unpacked into the cache and
// never changed there. A node's image is composed over it in memory, so that 22 images cost a few kilobytes each. Only
// the FAT file system of the boot partition is changed; the root file system is read, to learn what system it is.
//
// The same inputs give the same bytes, and the image's id names the inputs: a node whose id is another one has another
// image.
package image

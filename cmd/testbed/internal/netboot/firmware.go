// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// config is the config.txt of a Raspberry Pi that boots the agent: the image's kernel with our initramfs. Nothing
// of the image's own config.txt is needed for a card and a cable.
func (o *Offer) config() []byte {
	kernel := "kernel_2712.img" // Raspberry Pi 5's own
	if o.image.Boot != nil {
		if _, err := fs.Stat(o.image.Boot, kernel); err != nil {
			kernel = "kernel8.img"
		}
	}
	return fmt.Appendf(nil, "[all]\narm_64bit=1\nenable_uart=1\nkernel=%s\nauto_initramfs=0\ninitramfs %s followkernel\n", kernel, initramfsFile)
}

// cmdline is the kernel's command line: where the order is, and how the agent gets there. It takes the firmware's
// address: its lease, or, where another server gave it one, that which it asks from.
func (o *Offer) cmdline(from netip.Addr) string {
	if !o.service.Proxy {
		from = o.client.Address
	}
	words := []string{
		"panic=10", // of a kernel that finds no agent: back to the firmware
		order.ParamURL + "=" + o.service.base + "/v1/order/" + o.token,
		order.ParamMAC + "=" + o.client.MAC.String(),
		order.ParamAddress + "=" + netip.PrefixFrom(from, o.service.Address.Bits()).String(),
	}
	if o.image.Boot != nil {
		return strings.Join(append([]string{"console=ttyAMA10,115200", "console=tty1"}, words...), " ")
	}
	return strings.Join(append([]string{"console=tty0", "console=ttyS0,115200"}, words...), " ")
}

// script is what a PC's iPXE does: kernel and initramfs by HTTP, which takes a tenth of TFTP's time. Whatever goes
// wrong ends in the firmware's next boot device.
func (o *Offer) script(from netip.Addr) []byte {
	base := o.service.base + "/v1/boot/" + o.token
	return fmt.Appendf(nil, `#!ipxe
kernel %[1]s/kernel initrd=initrd %[2]s || exit 1
initrd --name initrd %[1]s/initrd || exit 1
boot || exit 1
`, base, o.cmdline(from))
}

// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strings"
)

// setupScript is what both forms of first boot run when all files are in place.
//
//go:embed setup.sh
var setupScript []byte

// Raspberry Pi OS before cloud-init runs a script at the first boot that the kernel's arguments name.
const (
	firstrunName = "firstrun.sh"
	firstrunArgs = "systemd.run=/boot/firmware/" + firstrunName + " systemd.run_success_action=reboot systemd.unit=kernel-command-line.target"
	// firstbootArg has the system make its partition larger, give the disk another identity and reboot. We leave the disk's
	// identity as it is: the image that re-imaging keeps beside this one is found by it.
	firstbootArg = "init=/usr/lib/raspberrypi-sys-mods/firstboot"
)

// firstrun renders the script: it does what cloud-init makes of user-data and network-config.
func (s settings) firstrun(id string) ([]byte, error) {
	files, err := s.files(id)
	if err != nil {
		return nil, err
	}
	files = append(files,
		file{"/etc/hostname", 0o644, []byte(s.hostname + "\n")},
		file{"/root/.ssh/authorized_keys", 0o600, []byte(strings.Join(lines(s.authorized), "\n") + "\n")},
		file{"/etc/NetworkManager/system-connections/testbed.nmconnection", 0o600, s.connection()},
	)
	var b bytes.Buffer
	b.WriteString("#!/bin/sh\n# Written by testbed image build; run once, at the first boot, as root.\nexec >/boot/firmware/testbed-firstrun.log 2>&1\n")
	b.WriteString("put() { mkdir -p \"${1%/*}\" && (umask 077; base64 -d >\"$1\") && chmod \"$2\" \"$1\"; }\n")
	for _, f := range files {
		fmt.Fprintf(&b, "put %s %04o <<'.'\n%s.\n", f.path, f.mode, wrapped(f.content))
	}
	fmt.Fprintf(&b, "hostname %s\nln -sf /usr/share/zoneinfo/UTC /etc/localtime\nsh %s firstrun\n", s.hostname, setupPath)
	return b.Bytes(), nil
}

// connection is the node's one static address for NetworkManager.
func (s settings) connection() []byte {
	match := ""
	if s.mac != "" {
		match = "mac-address=" + strings.ToUpper(s.mac) + "\n"
	}
	return fmt.Appendf(nil, `[connection]
id=testbed
type=ethernet
autoconnect-priority=100

[ethernet]
%s
[ipv4]
method=disabled

[ipv6]
method=manual
address1=%s
`, match, s.address)
}

// wrapped is base64 in lines.
func wrapped(content []byte) string {
	text, b := base64.StdEncoding.EncodeToString(content), strings.Builder{}
	for len(text) > 0 {
		n := min(len(text), 76)
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return b.String()
}

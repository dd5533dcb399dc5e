// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// settings are what makes a node's card its own.
type settings struct {
	hostname   string
	address    netip.Prefix // static, with the length of the nodes' network
	mac        string       // aa:bb:cc:dd:ee:ff; empty: the one Ethernet port that there is
	hostKey    []byte       // the SSH server's private key, in OpenSSH's format
	authorized []byte       // lines of authorized_keys for root
	eeprom     map[string]string
}

// DefaultEEPROM are the settings of a board's boot EEPROM that re-imaging over the network needs; the inventory's are laid
// over them. The boot order is read from the right: network, then card, then again. A node that is not to be written gets no
// answer, and goes on to its card after the shortest time-outs that there are.
func DefaultEEPROM() map[string]string {
	return map[string]string{
		"BOOT_ORDER":            "0xf12",
		"TFTP_PREFIX":           "2", // files of a board are below its MAC address
		"DHCP_TIMEOUT":          "5000",
		"DHCP_REQ_TIMEOUT":      "500",
		"NET_BOOT_MAX_RETRIES":  "0",
		"POWER_OFF_ON_HALT":     "0", // halted boards come back when their port is switched
		"WAIT_FOR_POWER_BUTTON": "0",
	}
}

// defaultCmdline are the kernel's arguments that Kubernetes needs on boards, whose firmware switches the memory cgroup off.
var defaultCmdline = []string{"cgroup_enable=memory"}

// file is one that first boot puts in place.
type file struct {
	path    string
	mode    uint32
	content []byte
}

// Paths on the node.
const (
	idPath      = "/etc/testbed/image" // one line: the image's id
	setupPath   = "/etc/testbed/setup"
	eepromPath  = "/etc/testbed/eeprom.conf"
	hostKeyPath = "/etc/ssh/testbed_host_ed25519_key"
)

// sshd takes the key that is pinned, by a name of its own: Raspberry Pi OS makes new ssh_host_* keys at the first boot,
// whoever has put some there.
const sshdConfig = `# Written by testbed image build.
HostKey ` + hostKeyPath + `
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
`

// files returns what both forms of first boot put in place.
func (s settings) files(id string) ([]file, error) {
	signer, err := ssh.ParsePrivateKey(s.hostKey)
	if err != nil {
		return nil, fmt.Errorf("reading the host key of %s: %w", s.hostname, err)
	}
	public := bytes.TrimSpace(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	list := []file{
		{idPath, 0o644, []byte(id + "\n")},
		{hostKeyPath, 0o600, s.hostKey},
		{hostKeyPath + ".pub", 0o644, fmt.Appendf(nil, "%s %s\n", public, s.hostname)},
		{"/etc/ssh/sshd_config.d/00-testbed.conf", 0o644, []byte(sshdConfig)},
		{setupPath, 0o755, setupScript},
	}
	if len(s.eeprom) > 0 {
		var lines strings.Builder
		for _, key := range slices.Sorted(maps.Keys(s.eeprom)) {
			fmt.Fprintf(&lines, "%s=%s\n", key, s.eeprom[key])
		}
		list = append(list, file{eepromPath, 0o644, []byte(lines.String())})
	}
	return list, nil
}

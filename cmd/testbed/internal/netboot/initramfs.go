// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
)

// Initramfs returns a compressed archive with the agent and the kernel modules it loads first, in that order. A
// kernel that has all drivers built in needs none.
func Initramfs(agent []byte, modules []Module) ([]byte, error) {
	if !bytes.HasPrefix(agent, []byte("\x7fELF")) {
		return nil, fmt.Errorf("making the initramfs: the agent is no Linux program")
	}
	entries := []entry{
		{name: "dev", mode: modeDir | 0o755},
		{name: "dev/console", mode: modeChar | 0o600, device: [2]int{5, 1}}, // opened by the kernel for /init
		{name: "dev/null", mode: modeChar | 0o666, device: [2]int{1, 3}},
		{name: "proc", mode: modeDir | 0o755},
		{name: "sys", mode: modeDir | 0o755},
		{name: "init", mode: modeFile | 0o755, content: agent},
		{name: "modules", mode: modeDir | 0o755},
	}
	var names []string
	for _, m := range modules {
		entries = append(entries, entry{name: "modules/" + m.Name, mode: modeFile | 0o644, content: m.Content})
		names = append(names, m.Name+"\n")
	}
	entries = append(entries, entry{name: "modules/order", mode: modeFile | 0o644, content: []byte(strings.Join(names, ""))})
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed) // it is kept in memory, and made anew each time
	if err != nil {
		return nil, err
	}
	if err := writeArchive(z, entries); err != nil {
		return nil, fmt.Errorf("making the initramfs: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("making the initramfs: %w", err)
	}
	return out.Bytes(), nil
}

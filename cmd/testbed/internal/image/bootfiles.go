// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"slices"
	"strings"
)

// Names of a board's own files on its boot partition.
const (
	configName  = "config.txt"
	cmdlineName = "cmdline.txt"
)

// cmdline returns the kernel's arguments with ours behind them. Those that name a data source or a script of a first boot
// are replaced: there is one first boot, and it is ours. Firmware reads one line.
func cmdline(was []byte, form, id string, more []string) []byte {
	line, _, _ := strings.Cut(strings.TrimLeft(string(was), "\r\n"), "\n")
	words := slices.DeleteFunc(strings.Fields(line), func(word string) bool {
		key, _, _ := strings.Cut(word, "=")
		return key == "ds" || strings.HasPrefix(key, "systemd.run") || word == "systemd.unit=kernel-command-line.target" ||
			form == InitFirstrun && word == firstbootArg
	})
	for _, word := range more {
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	words = append(words, "ds=nocloud;i="+id)
	if form == InitFirstrun {
		words = append(words, firstrunArgs)
	}
	return []byte(strings.Join(words, " ") + "\n")
}

// config returns config.txt with our lines behind it, for all boards.
func config(was []byte, more []string) []byte {
	if len(more) == 0 {
		return was
	}
	b := bytes.NewBuffer(bytes.TrimRight(was, "\r\n"))
	b.WriteString("\n\n[all]\n# testbed image build\n")
	for _, line := range more {
		b.WriteString(line + "\n")
	}
	return b.Bytes()
}

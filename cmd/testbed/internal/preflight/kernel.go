// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"fmt"
	"strconv"
	"strings"
)

// kernelChecks are about what a node's kernel is and can do. They try things in namespaces of their own, which go with them.
func kernelChecks() []Check {
	return []Check{
		{
			Name: "page size", Reads: "getconf PAGESIZE", Bound: "4096",
			Cure:   "kernel=kernel8.img in config.txt (a Pi 5's default kernel has pages of 16 KiB, on which programs built with jemalloc die)",
			Kernel: true, Stops: true,
			Script: `getconf PAGESIZE`,
			Judge:  func(v string) (string, bool) { return v, v == "4096" },
		},
		{
			Name: "address space", Reads: "where the kernel puts a program's stack", Bound: "48 bits on arm64, 47 on amd64",
			Cure:   "Debian's own kernel (linux-image-arm64); Raspberry Pi OS's have 39 or 47 bits, and Envoy's published arm64 build dies at its start on them (envoyproxy/envoy#23339)",
			Kernel: true, Stops: true,
			Script: `uname -m; sed -n 's/.*-\([0-9a-f]*\) .*\[stack\]$/\1/p' /proc/self/maps`,
			Judge:  judgeAddressSpace,
		},
		{
			Name: "kernel features", Reads: "tries in namespaces of their own", Bound: "bridge, veth, overlay, nftables, IPv6; cgroup controllers cpu, memory, pids",
			Cure:   "a kernel with them; of a Raspberry Pi also cgroup_enable=memory in cmdline.txt ('testbed image build' writes it)",
			Kernel: true, Stops: true,
			Script: featureScript,
			Judge: func(v string) (string, bool) {
				switch {
				case v == "":
					return "unknown", false
				case v == "all":
					return v, true
				}
				return "missing: " + strings.Join(strings.Fields(strings.TrimSuffix(v, "all")), ", "), false
			},
		},
	}
}

// featureScript prints what is missing, and "all" at its end. A node that has no nft yet gets one with its packages.
const featureScript = `
unshare --net sh -c '
ip link add br0 type bridge || echo bridge
ip link add v0 type veth peer name v1 || echo veth
if command -v nft >/dev/null; then nft add table ip6 try || echo nftables; fi
[ -d /proc/sys/net/ipv6 ] || echo IPv6' || echo network-namespaces
modprobe -q overlay; grep -qw overlay /proc/filesystems || echo overlay
for c in cpu memory pids; do
  grep -qw $c /sys/fs/cgroup/cgroup.controllers || awk -v c=$c '$1 == c && $4 == 1 {found = 1} END {exit !found}' /proc/cgroups || echo cgroup-$c
done
echo all`

// judgeAddressSpace reads the machine's name and the end of the stack, which is near the top of what a program can address.
func judgeAddressSpace(v string) (string, bool) {
	machine, end, _ := strings.Cut(v, "\n")
	top, err := strconv.ParseUint(strings.TrimSpace(end), 16, 64)
	if err != nil {
		return "unknown", false
	}
	bits := 0
	for ; top > 0; top >>= 1 {
		bits++
	}
	want := 47
	if machine == "aarch64" {
		want = 48
	}
	return fmt.Sprintf("%d bits (%s)", bits, machine), bits >= want
}

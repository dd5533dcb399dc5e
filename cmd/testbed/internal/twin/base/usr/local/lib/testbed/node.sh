# SPDX-License-Identifier: Apache-2.0
# Runs once at boot of a virtual node, as root.
set -eu

# Container runtimes make cgroups of their own; systemd-nspawn mounts the v1 controllers read-only.
# A plain remount is refused (busy): the bind mount alone is remounted.
for dir in /sys/fs/cgroup /sys/fs/cgroup/*; do
	if mountpoint -q "$dir" && [ -e "$dir/cgroup.procs" ]; then
		mount -o remount,bind,rw "$dir"
	fi
done

# The kubelet sets these kernel settings, which are the host's: it finds here the values it wants, on
# files of the node's own, and leaves the host alone. What belongs to the node's network (net.*) is
# writable as it is.
own=/run/testbed/sysctl
mkdir -p $own
while read -r key value; do
	if [ -e "/proc/sys/$key" ]; then
		mkdir -p "$own/${key%/*}"
		echo "$value" > "$own/$key"
		mount --bind "$own/$key" "/proc/sys/$key"
	fi
done <<-SETTINGS
	vm/overcommit_memory 1
	vm/panic_on_oom 0
	kernel/panic 10
	kernel/panic_on_oops 1
	kernel/keys/root_maxkeys 1000000
	kernel/keys/root_maxbytes 25000000
SETTINGS

# Pods' volumes may be mounted with bidirectional propagation.
mount --make-rshared /

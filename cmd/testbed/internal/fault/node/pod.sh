# SPDX-License-Identifier: Apache-2.0
# What faults of pods share: uid of the pod, containers (the runtime's names of those that are struck).

# pod_cgroup prints the pod's directory in the hierarchy of a controller: with cgroup v1 each has one of its own. The systemd
# driver writes the UID with underscores.
pod_cgroup() {
	local root=/sys/fs/cgroup/$1
	[ -d "$root" ] || root=/sys/fs/cgroup
	root=$(find "$root" -maxdepth 8 -type d '(' -name "*pod$uid*" -o -name "*pod${uid//-/_}*" ')' -print -prune | head -n 1)
	[ -n "$root" ] || { echo "the pod has no cgroup of controller $1 here" >&2; return 1; }
	echo "$root"
}

procs() {
	local id
	for id in $containers; do cat "$cgroup"/*"$id"*/cgroup.procs 2>/dev/null; done
}

alive() { [ -n "$(procs)" ] || { echo "no process of the pod's containers is alive" >&2; return 1; }; }
dead() { [ -z "$(procs)" ] || { echo "processes outlive SIGKILL: $(procs | tr '\n' ' ')" >&2; return 1; }; }

# SPDX-License-Identifier: Apache-2.0
# All processes of a pod stop running, and keep their memory, sockets and address: the kernel goes on accepting connections to
# it, which nobody answers.
freezer() {
	cgroup=$(pod_cgroup freezer) || return
	if [ -e "$cgroup/freezer.state" ]; then
		file=$cgroup/freezer.state frozen=FROZEN thawed=THAWED
	else
		file=$cgroup/cgroup.freeze frozen=1 thawed=0
	fi
}

state() {
	if [ "$frozen" = FROZEN ]; then cat "$file"; else sed -n 's/^frozen //p' "$cgroup/cgroup.events"; fi
}

is() { [ "$(state)" = "$1" ] || { echo "the pod's freezer says $(state)" >&2; return 1; }; }
put() { echo "$1" >"$file"; }

# freeze insists: while processes beget others, version 1 may stay at FREEZING for ever, and asks to be told again or to thaw
# in between (the kernel's freezer-subsystem.txt).
freeze() {
	local tries
	for ((tries = 1; tries <= 2000; tries++)); do
		put $frozen && is $frozen 2>/dev/null && return
		((tries % 50)) || put $thawed
	done
	is $frozen
}

prepare() { freezer && is $thawed; }
strike() { deed freeze; }
struck() { is $frozen; }
upheld() { is $frozen; }
mend() {
	freezer 2>/dev/null || return 0 # the pod is gone
	deed put $thawed
}
mended() { ! freezer 2>/dev/null || is $thawed; }

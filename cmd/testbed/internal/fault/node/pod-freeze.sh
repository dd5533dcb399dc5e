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

prepare() { freezer && is $thawed; }
strike() { deed put $frozen; }
struck() { is $frozen; }
upheld() { is $frozen; }
mend() {
	freezer 2>/dev/null || return 0 # the pod is gone
	deed put $thawed
}
mended() { ! freezer 2>/dev/null || is $thawed; }

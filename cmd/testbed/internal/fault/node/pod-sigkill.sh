# SPDX-License-Identifier: Apache-2.0
# The processes of a pod's containers are killed. The pod's cgroup gets a pids.max of 0: the runtime cannot fork a new container
# in it, so that the kubelet's restarts fail until the limit is lifted. The sandbox lives on, and with it the pod's address:
# connections to it are refused, as from a crashed process on a live machine.
prepare() {
	cgroup=$(pod_cgroup pids) && alive || return
	local child id
	for child in "$cgroup"/*/; do
		for id in $containers; do case $child in *"$id"*) continue 2 ;; esac done
		echo "$child"
	done >sandbox
	cat "$cgroup/pids.max" >limit.new && mv limit.new limit
}

strike() {
	echo 0 >"$cgroup/pids.max" || return
	local victims
	victims=$(procs)
	deed slay $victims
}

struck() { dead; }

# A runtime that tries to start a container has a process in the cgroup for moments: it is looked at more than once.
upheld() {
	local child back
	for _ in 1 2 3; do
		back=
		for child in "$cgroup"/*/; do
			grep -qxF "$child" sandbox || back+=$(cat "$child/cgroup.procs" 2>/dev/null)
		done
		[ -n "$back" ] || return 0
		sleep 0.05
	done
	echo "processes are back: $back" >&2
	return 1
}

mend() {
	[ -e limit ] || return 0
	cgroup=$(pod_cgroup pids 2>/dev/null) || return 0 # the pod is gone
	local value
	read -r value <limit
	lift() { echo "$value" >"$cgroup/pids.max"; }
	deed lift
}

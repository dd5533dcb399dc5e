# SPDX-License-Identifier: Apache-2.0
# The processes of one container are killed, and its kubelet restarts it.
momentary=1
prepare() { cgroup=$(pod_cgroup pids) && alive; }
strike() {
	local victims
	victims=$(procs)
	deed slay $victims
}
# The runtime may have started another container since: that one has another name.
struck() { dead; }

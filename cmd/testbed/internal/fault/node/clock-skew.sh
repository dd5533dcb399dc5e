# SPDX-License-Identifier: Apache-2.0
# The node's clock is wrong by $by nanoseconds, and nobody sets it right. It is set back by the clock that nobody sets: that is
# right also for a fault that was never struck.
set_clock() { # to the monotonic clock and this
	python3 -c 'import sys, time; time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(sys.argv[1]))' "$1"
}
difference() { python3 -c 'import time; print(time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC))'; }

prepare() {
	systemctl -q is-active chrony && : >chrony
	systemctl stop chrony 2>/dev/null
	difference >right.new && mv right.new right
}
strike() {
	skew=$by
	deed set_clock $(($(<right) + by)) || return
	after=$((after - by)) # by the right clock
}
off() { # by how much the clock is wrong, give or take 20 ms
	local wrong=$(($(difference) - $(<right) - $1))
	((wrong > -20000000 && wrong < 20000000)) || { echo "the clock is wrong by $((wrong + $1)) ns" >&2; return 1; }
}
struck() { off "$by"; }
upheld() { off "$by"; }
mend() {
	[ -e right ] || return 0
	local wrong status
	wrong=$(($(difference) - $(<right)))
	deed set_clock "$(<right)"
	status=$?
	before=$((before - wrong)) skew=0 # by the right clock
	[ ! -e chrony ] || systemctl start chrony
	return $status
}
mended() { [ ! -e right ] || off 0; }

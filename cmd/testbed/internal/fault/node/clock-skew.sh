# SPDX-License-Identifier: Apache-2.0
# The node's clock is wrong by $by nanoseconds, and nobody sets it right. It is set back by the clock that nobody sets: that is
# right also for a fault that was never struck. Instants are told by the right clock.

# clock starts what reads and sets the clock: it stands before it is needed. "set N" sets the real-time clock to the monotonic
# one and N; everything is answered by the monotonic clock before and after, and the difference of both.
clock() {
	coproc CLOCK { exec python3 -u -c '
import sys, time
real, mono = time.CLOCK_REALTIME, time.CLOCK_MONOTONIC
now = time.clock_gettime_ns
for line in sys.stdin:
    words = line.split()
    before = now(mono)
    if words[0] == "set":
        time.clock_settime_ns(real, now(mono) + int(words[1]))
    after = now(mono)
    print(before, after, now(real) - now(mono))
'; }
}

ask() { # by the right clock
	local first last
	echo "$@" >&"${CLOCK[1]}" && read -r first last difference <&"${CLOCK[0]}" || return
	if [ -e right ]; then before=$((first + $(<right))) after=$((last + $(<right))); fi
}

prepare() {
	clock
	! systemctl -q is-active chrony || : >chrony
	systemctl stop chrony 2>/dev/null
	ask get && echo "$difference" >right.new && mv right.new right
}

strike() {
	skew=$by
	ask set $(($(<right) + by))
}

off() { # by how much the clock is wrong, give or take 20 ms
	local wrong first=$before last=$after
	ask get || return
	before=$first after=$last wrong=$((difference - $(<right)))
	((wrong - $1 > -20000000 && wrong - $1 < 20000000)) || { echo "the clock is wrong by $wrong ns" >&2; return 1; }
}
struck() { off "$by"; }
upheld() { off "$by"; }

mend() {
	[ -e right ] || return 0
	local status
	[ -n "${CLOCK_PID-}" ] || clock
	ask set "$(<right)"
	status=$?
	skew=0
	[ ! -e chrony ] || systemctl start chrony
	return $status
}
mended() { [ ! -e right ] || off 0; }

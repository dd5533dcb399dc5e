# SPDX-License-Identifier: Apache-2.0
# Packets that leave by the link that leads to $towards leave $delay later, give or take $jitter.
prepare() {
	dev=$(ip -6 -o route get "$towards" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
	[ -n "$dev" ] && [ "$dev" != lo ] || { echo "no link leads to $towards" >&2; return 1; }
	case $(tc qdisc show dev "$dev" root) in
	*netem* | *tbf* | *htb*) echo "$dev is shaped already: $(tc qdisc show dev "$dev" root)" >&2; return 1 ;;
	esac
	echo "$dev" >link
}
delayed() { tc qdisc show dev "$dev" root | grep -q netem; }
strike() { deed tc qdisc replace dev "$dev" root netem limit 100000 delay $delay $jitter; }
struck() { delayed; }
upheld() { delayed; }
mend() {
	[ -e link ] || return 0
	read -r dev <link
	! delayed || deed tc qdisc delete dev "$dev" root
}
mended() { [ ! -e link ] || ! delayed; }

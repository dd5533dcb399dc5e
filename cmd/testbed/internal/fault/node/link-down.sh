# SPDX-License-Identifier: Apache-2.0
# The link that leads to $towards is down. With it go its addresses and its routes: they are kept here.
prepare() {
	dev=$(ip -6 -o route get "$towards" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
	[ -n "$dev" ] && [ "$dev" != lo ] || { echo "no link leads to $towards" >&2; return 1; }
	ip -6 -o address show dev "$dev" scope global | awk '{print $4}' >addresses || return
	ip -6 route show dev "$dev" | grep -v -e 'proto kernel' -e '^fe80::' >routes
	[ -s addresses ] || { echo "$dev has no address" >&2; return 1; }
	echo "$dev" >link
	coproc IP { exec ip -batch - 2>>said; }
	ip=$IP_PID input=${IP[1]}
}

take_down() {
	echo "link set $dev down" >&"$input"
	eval "exec $input>&-"
	wait "$ip"
}

up() { ip -o link show dev "$dev" | grep -q '<.*[<,]UP[,>]'; }
strike() { deed take_down; }
struck() { ! up || { echo "$dev is up" >&2; return 1; }; }
upheld() { struck; }

mend() {
	[ -e link ] || return 0
	local a
	read -r dev <link
	deed ip link set "$dev" up || return
	while read -r a; do ip -6 address replace "$a" dev "$dev" nodad || return; done <addresses
	while read -r a; do ip -6 route replace $a dev "$dev" || return; done <routes
}
mended() {
	[ -e link ] || return 0
	up && [ -z "$(ip -6 -o address show dev "$dev" scope global | awk '{print $4}' | sort | comm -13 - <(sort addresses))" ] ||
		{ echo "$dev is not as before" >&2; return 1; }
}

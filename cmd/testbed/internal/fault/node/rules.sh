# SPDX-License-Identifier: Apache-2.0
# The nftables table $family $table, whose text is $rules, stands: what it drops is not answered. It counts as a whole, from one
# instant on. nft is started before that, and waits for the end of what it reads. @device@ is the link that leads to $towards.
prepare() {
	local dev
	if [ -n "${towards-}" ]; then
		dev=$(ip -6 -o route get "$towards" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
		[ -n "$dev" ] && [ "$dev" != lo ] || { echo "no link leads to $towards" >&2; return 1; }
		rules=${rules//@device@/$dev}
	fi
	coproc NFT { exec nft -f - 2>>said; }
	nft=$NFT_PID input=${NFT[1]}
	printf '%s\n' "$rules" >&"$input"
}

load() {
	eval "exec $input>&-"
	wait "$nft"
}
strike() { deed load; }
struck() { nft list table "$family" "$table" >/dev/null; }
upheld() { struck; }
mend() {
	nft list table "$family" "$table" >/dev/null 2>&1 || return 0
	deed nft delete table "$family" "$table"
}
mended() { ! nft list table "$family" "$table" >/dev/null 2>&1; }

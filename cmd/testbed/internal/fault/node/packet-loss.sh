# SPDX-License-Identifier: Apache-2.0
# Of rules.sh, where some packets pass and some do not: of enough that came by, some were dropped.
upheld() {
	local seen lost
	seen=$(counted seen) lost=$(counted lost)
	((seen * per_myriad < 300000 || lost > 0)) || { echo "of $seen packets none was lost" >&2; return 1; }
}
counted() { nft list counter "$family" "$table" "$1" | sed -n 's/.*packets \([0-9]*\) .*/\1/p'; }

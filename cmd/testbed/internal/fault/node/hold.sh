#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One fault on one node. A transient unit runs "bash FILE hold": it strikes at the instant $at by this node's clock, sees that
# it took effect, and undoes it at $until, or as soon as it is told to end. systemd runs "bash FILE mend" when that has ended,
# however it ended: what is broken is mended though everybody who knew of it is dead.
#
# In the file's directory: armed (there may be something to undo), began and ended (the instants before and after, in
# nanoseconds), error (what went wrong).
#
# The fault's own part, below, defines variables and some of these: prepare, which must not cost time later; strike and mend,
# which each call deed for the very thing; struck and mended, which say whether it is seen; upheld, whether it lasted. mend must
# also do for a fault that was never or half struck.
set -u
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
cd "${BASH_SOURCE[0]%/*}" || exit

prepare() { :; }
strike() { :; }
struck() { :; }
upheld() { :; }
mend() { :; }
mended() { :; }
at=0 until=0 momentary='' told='' skew=0 seeing=10

now() { now=${EPOCHREALTIME/./}000; } # no process is started for it

# deed does something and notes the instants before and after.
deed() {
	local outcome
	now
	before=$now
	"$@"
	outcome=$?
	now
	after=$now
	return $outcome
}

# slay sends SIGKILL and returns when the processes are dead, the last of their threads too: they give their memory back first.
slay() {
	local pid stat threads tries=100000
	kill -KILL "$@" || return
	for pid; do
		while ((tries-- > 0)) && { read -r stat <"/proc/$pid/stat"; } 2>/dev/null; do
			threads=("/proc/$pid/task"/*)
			case ${stat##*) } in [ZX]*) ((${#threads[@]} > 1)) || break ;; esac
		done
	done
}

# await returns at an instant, and false as soon as the fault is told to end. A sleep is late by what a process takes to start:
# the last milliseconds pass here.
await() {
	local left pause
	while [ -z "$told" ]; do
		now
		left=$(($1 + skew - now))
		((left > 0)) || return 0
		((left > 5000000)) || continue
		left=$((left - 4000000))
		printf -v pause '%d.%09d' $((left / 1000000000)) $((left % 1000000000))
		sleep "$pause" &
		wait $! || kill $! 2>/dev/null
	done
	return 1
}

# within tries for some seconds until something is so.
within() {
	local end=$((EPOCHSECONDS + $1))
	shift
	until "$@" 2>said; do
		((EPOCHSECONDS <= end)) || return
		sleep 0.02
	done
}

# report writes a file that is whole as soon as it is there.
report() { printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; }

fail() {
	report error "$1: $(tail -n 3 said 2>/dev/null)"
	undo
	exit 1
}

undo() {
	[ -e armed ] || return 0
	now
	before=$now after=$now
	if ! mend 2>said; then
		report error "undoing it: $(tail -n 3 said)"
		return 1
	fi
	if ! within 60 mended; then
		report error "it does not look undone: $(tail -n 3 said)"
		return 1
	fi
	rm -f armed
	report ended "$before $after"
}

main() {
	case ${1-} in
	hold)
		trap 'told=1' TERM INT
		: >armed
		prepare 2>said || fail preparing
		await "$at" || exit 0
		strike 2>said || fail striking
		within "$seeing" struck || fail "it took no effect"
		report began "$before $after"
		if [ -n "$momentary" ]; then
			rm -f armed
			exit 0
		fi
		await "$until"
		upheld 2>said || report error "it did not last: $(tail -n 3 said)"
		undo
		;;
	mend) undo ;;
	esac
}

# SPDX-License-Identifier: Apache-2.0
# The processes of the services $units are killed by SIGKILL, and kept from starting: by a condition, as others want them.
drop_in() { echo "/run/systemd/system/$1.service.d/testbed-fault.conf"; }

prepare() {
	local unit file
	pids=
	for unit in $units; do
		file=$(drop_in "$unit")
		[ ! -e "$file" ] || { echo "$unit is struck already" >&2; return 1; }
		pids+=" $(systemctl show --value -p MainPID "$unit")"
		systemctl -q is-active "$unit" || { echo "$unit is not running" >&2; return 1; }
		mkdir -p "${file%/*}"
		printf '[Unit]\nConditionPathExists=!%s/held\n[Service]\nRestart=no\n' "$PWD" >"$file" || return
	done
	: >held
	systemctl daemon-reload
}

strike() { deed slay $pids; }

down() {
	local unit
	for unit in $units; do
		! systemctl -q is-active "$unit" || { echo "$unit is running" >&2; return 1; }
	done
}
struck() { down; }
upheld() { down; }

mend() {
	local unit file found=
	for unit in $units; do
		file=$(drop_in "$unit")
		grep -qsF "$PWD/held" "$file" || continue # none, or of another fault
		rm -f "$file"
		rmdir --ignore-fail-on-non-empty "${file%/*}"
		found=1
	done
	rm -f held
	[ -n "$found" ] || return 0
	systemctl daemon-reload || return
	systemctl reset-failed $units 2>/dev/null
	deed systemctl start --no-block $units
}

mended() {
	local unit
	for unit in $units; do
		systemctl -q is-active "$unit" || { echo "$unit is $(systemctl is-active "$unit")" >&2; return 1; }
	done
}

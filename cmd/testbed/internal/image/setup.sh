#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a node does once, at its first boot, when the files of its image are in place. The argument says who runs it:
# cloud-init or firstrun.
set -u
init=$1
for boot in /boot/firmware /boot/efi; do
	[ -e "$boot/meta-data" ] && break
done

# On boards the root file system takes what is free behind it, up to the next partition; where it has that already, nothing
# changes. Elsewhere cloud-init does so.
if [ -e "$boot/config.txt" ]; then
	root=$(findmnt -no SOURCE /)
	part=$(cat "/sys/class/block/${root##*/}/partition")
	disk=/dev/$(lsblk -no PKNAME "$root")
	echo ', +' | sfdisk -q --no-reread --force -N "$part" "$disk" && partx -u -n "$part" "$disk"
	resize2fs "$root"
fi

# Packages came with the image: no network is asked. Those that the system has as new or newer stay. Nothing is started: the
# roles start what a node runs.
set --
for deb in "$boot"/testbed/packages/*.deb; do
	[ -e "$deb" ] || continue
	have=$(dpkg-query -W -f '${Version}' "$(dpkg-deb -f "$deb" Package)" 2>/dev/null)
	if [ -z "$have" ] || dpkg --compare-versions "$have" lt "$(dpkg-deb -f "$deb" Version)"; then
		set -- "$@" "$deb"
	fi
done
if [ $# -gt 0 ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null \
		--no-install-recommends install "$@" && touch /etc/testbed/packages
	rm -f /usr/sbin/policy-rc.d
fi

# The boot EEPROM: our settings replace those of the same name. It is written at the next reboot.
if [ -e /etc/testbed/eeprom.conf ] && command -v rpi-eeprom-config >/dev/null; then
	now=$(mktemp) want=$(mktemp)
	rpi-eeprom-config >"$now"
	if grep -vxFf "$now" /etc/testbed/eeprom.conf; then
		grep -vE "^($(sed 's/=.*//' /etc/testbed/eeprom.conf | paste -sd '|'))=" "$now" >"$want"
		{ echo '[all]'; cat /etc/testbed/eeprom.conf; } >>"$want"
		rpi-eeprom-config --apply "$want"
	fi
	rm -f "$now" "$want"
fi

systemctl disable userconfig.service 2>/dev/null # asks the console for a user
systemctl enable ssh.service
[ "$init" = firstrun ] || systemctl restart ssh.service

# The private key stays on the root file system: anybody may read the boot partition.
printf '#cloud-config\n' >"$boot/user-data"
rm -f "$boot/firstrun.sh"
[ "$init" = cloud-init ] || sed -i 's| systemd\.run[^ ]*||g; s| systemd\.unit=kernel-command-line\.target||' "$boot/cmdline.txt"
sync

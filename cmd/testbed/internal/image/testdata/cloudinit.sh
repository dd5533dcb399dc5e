#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Has Debian's own cloud-init read the boot partition of an image, in namespaces of its own over a Debian that stays as it is:
# its first boot, from the local stage to the last.
# usage: cloudinit.sh BASE IMAGE OFFSET MAC     the result is below $PWD/root
set -eux
base=$1 image=$2 offset=$3 mac=$4
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$base,upperdir=upper,workdir=work" root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/run
cp /etc/resolv.conf root/etc/resolv.conf
chroot root sh -c 'export DEBIAN_FRONTEND=noninteractive; printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d
	apt-get -qq update && apt-get -qq -y --no-install-recommends install cloud-init netplan.io udev >/dev/null'
mkdir -p root/boot/firmware
mcopy() { mtools -c mcopy -s -n -i "$image@@$offset" "::/$1" root/boot/firmware/; }
for f in user-data meta-data network-config; do mcopy $f; done
# As Raspberry Pi OS has it; Debian's cloud-init 22 reads a network-config only from where it looks by itself.
printf 'datasource_list: [ NoCloud, None ]\n' >root/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg
mkdir -p root/var/lib/cloud/seed/nocloud
cp root/boot/firmware/* root/var/lib/cloud/seed/nocloud/
for check in user-data; do chroot root cloud-init schema --config-file /boot/firmware/$check --annotate; done
# What systemd would be asked is only noted.
printf '#!/bin/sh\necho "$@" >>/tmp/systemctl\n' >root/usr/bin/systemctl.new
chmod +x root/usr/bin/systemctl.new
mv root/usr/bin/systemctl.new root/usr/bin/systemctl
unshare --net --uts sh -eux -c '
	mount -t sysfs sysfs root/sys
	ip link add eth9 type veth peer name other
	ip link set eth9 address "$0"
	ip link set lo up
	chroot root cloud-init init --local
	chroot root cloud-init init
	chroot root cloud-init modules --mode=config
	chroot root cloud-init modules --mode=final
	chroot root hostname >root/tmp/hostname
	chroot root netplan get >root/tmp/netplan
	cp root/run/cloud-init/result.json root/tmp/result.json
	umount root/sys' "$mac"
umount root/run root/proc root

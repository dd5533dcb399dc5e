# SPDX-License-Identifier: Apache-2.0
# The file system that holds $dir has no room. One in memory is made as small as what it holds, which costs no memory; of one on
# a disk the rest is taken by a file. $shared says that disks here are another's.
full=.testbed-fault-full

prepare() {
	kind=$(stat -f -c %T "$dir") && mount=$(df --output=target "$dir" | tail -n 1) || return
	[ "$mount" != /dev/shm ] || { echo "a fault keeps its own files there" >&2; return 1; }
	if [ "$kind" = tmpfs ]; then
		df -B1 --output=size "$dir" | tail -n 1 >size.new && mv size.new size
		return
	fi
	[ -z "$shared" ] || { echo "$dir is on a file system of kind $kind, which virtual nodes share with their machine (hint: path: /run)" >&2; return 1; }
	echo "$mount" >disk
	# All but the last 64 MiB is taken before: the disk is not full yet.
	local free
	free=$(($(stat -f -c '%f * %S' "$dir") - (64 << 20)))
	((free <= 0)) || fallocate -l "$free" "$mount/$full" || return
}

strike() {
	local used tries=50
	if [ "$kind" != tmpfs ]; then
		deed cat /dev/zero >>"$mount/$full" 2>/dev/null
		return 0
	fi
	until used=$(df -B1 --output=used "$dir" | tail -n 1) && deed mount -o "remount,size=$used" "$mount"; do
		((tries-- > 0)) || return # somebody wrote meanwhile
	done
}
no_room() {
	local status
	head -c 1M /dev/zero 2>/dev/null >"$mount/$full-probe" && status=1 || status=0
	rm -f "$mount/$full-probe"
	[ $status = 0 ] || echo "a megabyte could be written to $mount" >&2
	return $status
}
struck() { no_room; }
upheld() { no_room; }
mend() {
	mount=$(df --output=target "$dir" | tail -n 1) || return
	if [ -e size ]; then
		deed mount -o "remount,size=$(<size)" "$mount"
	elif [ -e disk ]; then
		deed rm -f "$(<disk)/$full"
	fi
}
mended() { [ ! -e size ] && [ ! -e disk ] || ! no_room 2>/dev/null; }

# SPDX-License-Identifier: Apache-2.0
# Every request of a pod takes $delay longer: the backend's administrative address, $address port $port, is told so.
tell() {
	printf 'PUT /slow?delay=%s HTTP/1.1\r\nHost: backend\r\nContent-Length: 0\r\n\r\n' "$1" >&3 &&
		read -r -t 10 _ status _ <&3 &&
		[ "$status" = 200 ]
}

put() {
	status='nothing'
	exec 3<>"/dev/tcp/$address/$port" || return
	if ! deed tell "$1"; then
		echo "the pod says $status: $(timeout 1 cat <&3 | tr -d '\r' | tail -n 1)" >&2
		exec 3>&-
		return 1
	fi
	exec 3>&-
}

strike() { put "$delay"; }
mend() { [ ! -e began ] || put 0s; }

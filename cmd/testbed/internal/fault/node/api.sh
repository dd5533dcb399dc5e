# SPDX-License-Identifier: Apache-2.0
# The API server is asked for something, by one request on connections that stand before: $method $path, with $body of $type.
momentary=1

request() { # descriptor method path type body
	printf '%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s' "$2" "$3" "$4" "${#5}" "$5" >&"$1" &&
		read -r -t 10 _ status _ <&"$1" &&
		[ "${status:0:1}" = 2 ]
}

prepare() {
	local line port status=nothing
	exec 9< <(exec kubectl proxy '--address=[::1]' --port=0 2>&1)
	read -r -t 20 -u 9 line || { echo "kubectl proxy does not start" >&2; return 1; }
	port=${line##*:}
	# The proxy opens its own connection with the first request.
	exec 3<>"/dev/tcp/::1/$port" || return
	request 3 GET /readyz text/plain '' || { echo "the API server says $status, ${line}" >&2; return 1; }
	exec 3>&-
	exec 4<>"/dev/tcp/::1/$port"
}

strike() {
	status=nothing
	deed request 4 "$method" "$path" "$type" "$body" && return
	echo "the API server says $status: $(timeout 1 cat <&4 | tr -d '\r' | sed '1,/^$/d' | tr -s ' \n' ' ' | tail -c 300)" >&2
	return 1
}

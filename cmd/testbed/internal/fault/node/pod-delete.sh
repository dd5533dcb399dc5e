# SPDX-License-Identifier: Apache-2.0
# $namespace/$pod, whose uid is $uid, is ending, or gone, where $forced.
struck() {
	local found
	found=$(kubectl get pod -n "$namespace" "$pod" --ignore-not-found -o 'jsonpath={.metadata.uid} {.metadata.deletionTimestamp}') || return
	case $found in
	"$uid ") echo "the API server took the request, but the pod is not ending" >&2 ;;
	"$uid "*) [ -z "$forced" ] && return; echo "the pod is still there" >&2 ;;
	*) return 0 ;;
	esac
	return 1
}

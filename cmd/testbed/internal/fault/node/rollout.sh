# SPDX-License-Identifier: Apache-2.0
# The Deployment $namespace/$deployment replaces its pods: a ReplicaSet of the new template has some.
struck() {
	local seen
	seen=$(kubectl get deployment -n "$namespace" "$deployment" -o 'jsonpath={.metadata.generation} {.status.observedGeneration} {.status.updatedReplicas}') || return
	set -- $seen
	[ "$1" = "${2-}" ] && [ "${3-0}" -gt 0 ] || { echo "the Deployment does not replace its pods yet: $seen" >&2; return 1; }
}

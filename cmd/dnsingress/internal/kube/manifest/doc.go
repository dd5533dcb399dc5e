// SPDX-License-Identifier: Apache-2.0

// Package manifest reads Kubernetes manifests from files, as strictly as the API server and with the place of every
// mistake, and gives what they publish: the same objects and the same translation as from a cluster, with none there.
package manifest

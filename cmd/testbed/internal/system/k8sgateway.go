// SPDX-License-Identifier: Apache-2.0

package system

// gatewayCorefile is the configuration of CoreDNS with k8s_gateway: one TTL for all names.
const gatewayCorefile = `{{.Zone}}.:53 {
    errors
    prometheus [::]:9153
    health [::]:8080
    ready [::]:8181
    k8s_gateway {{.Zone}} {
        resources Service DNSEndpoint
        ttl {{.TTL}}
    }
}
`

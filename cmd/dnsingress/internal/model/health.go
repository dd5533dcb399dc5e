// SPDX-License-Identifier: Apache-2.0

package model

import "time"

// Protocol is how a health check asks.
type Protocol string

// The protocols of health checks.
const (
	TCP   Protocol = "tcp"   // a connection is accepted
	HTTP  Protocol = "http"  // a GET is answered with an expected status
	HTTPS Protocol = "https" // the same over TLS
	GRPC  Protocol = "grpc"  // grpc.health.v1.Health/Check says SERVING
	ICMP  Protocol = "icmp"  // an echo request is answered (RFC 4443 §4.1, RFC 792)
)

// HealthCheck asks every member of a pool how it is. Its outcome is a signal: 1 for a healthy member, 0 for
// one that is not, and none while nothing is known. It is comparable, so that equal checks are made once.
type HealthCheck struct {
	Name     string
	Protocol Protocol
	Port     uint16 // 0 with ICMP
	Path     string // HTTP, HTTPS: of the request, beginning with a slash
	Host     string // HTTP, HTTPS: the Host header; empty: the address
	Status   [2]int // HTTP, HTTPS: the least and the greatest status that is healthy
	Service  string // gRPC: the service asked for; empty: the server as a whole
	TLSName  string // HTTPS: the name that the certificate must be for; empty: any certificate is taken

	Interval          time.Duration // between checks of a healthy member
	UnhealthyInterval time.Duration // between checks of one that is not, or that is about to change
	Timeout           time.Duration // of one check
	Up, Down          int           // so many outcomes in a row turn a member's state
}

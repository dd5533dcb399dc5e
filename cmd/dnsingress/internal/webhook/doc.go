// SPDX-License-Identifier: Apache-2.0

// Package webhook is a provider of external-dns: the HTTP interface by which it reads and writes records where it has
// no provider of its own for a name server. external-dns runs it beside itself and asks:
//
//	GET  /                 which zones may be written (negotiation)
//	GET  /records          all records that were written
//	POST /adjustendpoints  which of the wanted records would be written, and as what
//	POST /records          writes a batch of changes
//	GET  /healthz          200 while the process lives
//
// Bodies are JSON of the media type application/external.dns.webhook+json;version=1. A status of 5xx means "try again":
// external-dns goes on and does so at its next interval. One of 4xx is a mistake that would not go away, at which
// external-dns ends.
//
// The interface has no authentication: whoever reaches it writes records. It belongs on a loopback address, in the pod
// of external-dns. Metrics and probes have an address of their own.
package webhook

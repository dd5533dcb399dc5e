// SPDX-License-Identifier: Apache-2.0

// Command kube measures how soon a change in a Kubernetes cluster is answered by DNS, beside CoreDNS and external-dns on
// the same API server.
//
// For each number of Services it starts an etcd and a kube-apiserver of its own, makes the Services with ten endpoints
// each, and lets one system after the other follow them. In world "pods" a change makes the first endpoint of a headless
// Service ready or not ready; in world "status" it moves a load balancer's address. The clock starts before the change is
// written. It stops when a query is answered with what was written; for external-dns, which answers nothing itself, when
// the change reaches its provider over the webhook interface, which is all that it promises. Beside each system a bare
// watch in this process notes when the event arrives: no system can be sooner, and the ratio to it is what counts on a
// machine that is shared.
package main

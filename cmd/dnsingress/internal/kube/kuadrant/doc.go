// SPDX-License-Identifier: Apache-2.0

// Package kuadrant has the types of Kuadrant's API that are read: DNSRecord of kuadrant.io/v1alpha1 as dns-operator
// v0.17.1 has it, with the fields that it had before (dnsName, managedZone), and DNSPolicy of kuadrant.io/v1 as
// kuadrant-operator v1.5.2 has it.
//
// +kubebuilder:object:generate=true
package kuadrant

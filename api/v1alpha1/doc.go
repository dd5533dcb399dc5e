// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the Kubernetes API of dnsingress: the kinds SteeringPolicy, DNSZone and
// DNSDelegation.
//
// The types are for programs that speak to the API server and for the CustomResourceDefinition that is generated
// from them (`make generate`). What a policy means, and what is wrong with one, is read from the document by
// cmd/dnsingress/internal/policy alone.
//
// +kubebuilder:object:generate=true
// +groupName=dnsingress.dev
package v1alpha1

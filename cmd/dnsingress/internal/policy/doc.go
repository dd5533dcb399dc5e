// SPDX-License-Identifier: Apache-2.0

// Package policy is the one reader of a SteeringPolicy, whether it comes from a file (`dnsingress check`, `dnsingress
// steer`) or from the API server. It finds everything that is wrong with a document at once; of a file each mistake
// has its line and column, within PromQL and bounds too.
//
// Keys and their meaning are those of the CustomResourceDefinition (api/v1alpha1) and of package steer, whose types the
// document is decoded into. On top of what the definition's schema refuses, the reader refuses a query that does not
// parse or cannot give one value a pod, rules on signals that are not there, signals that nothing reads, thresholds
// that contradict each other, TTL bounds that cross, and a policy that steers nothing.
package policy

// SPDX-License-Identifier: Apache-2.0

// Package kube turns Kubernetes objects into the model's pools. It and the packages below it alone know Kubernetes;
// docs/kubernetes.md says what is read of objects, package objects how.
//
// # What is watched
//
// The kinds that may publish names, as far as they are switched on, and others from the first time on that a
// translation asks for one of their objects: where no Service asks for Nodes, they are not watched. A kind that a
// CustomResourceDefinition makes is watched while there is one: a single watch of definitions' metadata tells. A kind
// that is not there, or that the API server refuses to give, stops no other. Of each object only what is read is kept.
//
// # What is translated
//
// A translation sees other objects through a View, which records what it asked for, whether there was such an object
// or not. A change has exactly those objects translated again that asked for what has changed, all changes that have
// come until then at once. While a kind that it asks for is not known yet, an object stays as it was: "there is none"
// would be wrong. What an object published and does not any more is withdrawn part by part.
//
// # While the API server is away
//
// The last state stays. A connection that fails is tried again about every second; what was deleted or changed
// meanwhile is found out by the watch where the API server still knows the way, else by comparing all there is. A
// process that starts meanwhile gives nothing until it knows everything.
//
// # SteeringPolicies
//
// A SteeringPolicy (api/v1alpha1; package policy says what is read) is on objects of its namespace, by their names or
// by host names that they publish. It goes before the object's own policy annotations, which then count for nothing.
// Of two on one object the older one has it, then the one whose name comes first; one on a Gateway counts for its
// routes that have none of their own. An invalid one keeps what it has, and the last good policy stays in force.
//
// # Reports
//
// What is wrong with an object is logged once and recorded as a warning event on it. The event's name is derived from
// its content, so that replicas, which all see the same, write it once. Statuses are written by one replica, which a
// Lease elects for as long as there is something to write: in the steady state nobody holds it and nothing is asked or
// written. A status is written over what was read alone, and what the API server does not keep of it only once.
package kube

// SPDX-License-Identifier: Apache-2.0

// Package resolver knows the recursive resolvers that a scenario can put on client nodes: four programs, each in a form that
// does as the DNS protocol says and in four that keep answers for longer or shorter, and none.
package resolver

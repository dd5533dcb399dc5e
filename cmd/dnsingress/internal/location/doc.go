// SPDX-License-Identifier: Apache-2.0

// Package location reads where clients are: from a database in MaxMind's format, and for addresses that it does not know
// from networks that a person wrote down. All of it is turned into a [zone.Locations] when it is read, so that no lookup
// asks a database, and read again when a file changes; what cannot be read leaves what was there.
//
// Places are paths from the largest to the smallest: GEO-EU/IE/IE-L is Leinster in Ireland in Europe, as in Route 53 and
// Kuadrant, and zone-a/node-7 a node of a cluster.
package location

// SPDX-License-Identifier: Apache-2.0

// Package zone holds compiled, immutable DNS zones and answers questions from them.
//
// A [Zone] is a persistent hash trie from names to nodes. [Zone.With] copies the one path to what changes and
// shares the rest, so an update costs O(log names), and a reader of the old zone never waits and never sees
// half a change. A node is one string in wire form, its records ready to be copied into a reply behind a
// pointer to the question's name. Empty non-terminals have nodes too, so the closest encloser of a name that
// does not exist is found from the origin downwards, one probe a label.
//
// A [Catalog] is the set of zones that a server answers for. A server keeps one [Question] and one [Reply]
// a worker and reuses them, so an answer allocates nothing:
//
//	end, err := question.Parse(message)
//	zone, _ := catalog.Find(question)
//	reply.Start(buffer, message, end)
//	zone.Answer(question, reply)
//	wire := reply.Bytes()
//
// A set can have more records than an answer: its [Selection] says which of them an answer holds, by chance, by weight
// or by who asks. [Locations] say where clients are.
//
// Lookup follows RFC 1034 §4.3.2 with RFC 4592 (wildcards), RFC 6672 (DNAME), RFC 2308 and RFC 8020
// (negative answers), RFC 8482 (ANY), RFC 9471 (glue). The package does no I/O and writes no log.
package zone

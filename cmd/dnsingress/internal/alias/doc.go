// SPDX-License-Identifier: Apache-2.0

// Package alias finds the addresses of host names outside, again and again, so that nothing is asked of anyone when a
// name that stands for one of them is looked up.
//
//   - A name is asked for, AAAA and A, as soon as it is followed, and again when the least TTL of the answers ends. CNAMEs
//     are gone along, also where a server gives them one by one.
//   - An answer that a name or its data do not exist is heeded, as the owner has said so (RFC 8767 §5). All else that is
//     no answer keeps the last addresses, for as long as it takes, and is tried again within half a minute.
//   - Resolvers are asked one after another until one answers.
package alias

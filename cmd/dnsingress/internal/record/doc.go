// SPDX-License-Identifier: Apache-2.0

// Package record knows what may stand in a zone for an object, and the records that follow from what the object says:
// values in, values out.
//
//   - Check keeps of an object's names and records those that can be published, and says what is wrong with the rest.
//   - Ports makes SRV records (RFC 2782), HTTPS and SVCB records (RFC 9460) of a pool's ports and of who is answered with.
//   - Names are all that an object claims.
//   - Loop finds names that lead back to themselves.
package record

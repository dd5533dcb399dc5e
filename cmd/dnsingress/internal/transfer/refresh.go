// SPDX-License-Identifier: Apache-2.0

package transfer

// Refresh has the primaries of every secondary zone be asked now.
func (s *Service) Refresh() {
	for _, f := range s.secondaries {
		f.Tell()
	}
}

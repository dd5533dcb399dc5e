// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Digest tells one inventory from another, wherever its file is.
func (inv *Inventory) Digest() string {
	copied := *inv
	copied.Path = ""
	text, err := json.Marshal(copied)
	if err != nil {
		panic(err) // plain values
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

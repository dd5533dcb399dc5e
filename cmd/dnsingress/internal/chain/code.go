// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"crypto/sha256"
	"math/big"
	"strings"
)

// codeLength is how many letters and digits a code has, as Kuadrant's.
const codeLength = 6

// Code is a short name for a long one, fit for a label: the first six digits of its SHA-224 to the base of 36. It is the
// same that Kuadrant gives, so that names stay when one takes over from the other.
func Code(name string) string {
	sum := sha256.Sum224([]byte(name))
	digits := new(big.Int).SetBytes(sum[:]).Text(36)
	for len(digits) < codeLength { // a sum that begins with 180 zero bits
		digits = "0" + digits
	}
	return digits[:codeLength]
}

// GatewayCode is the code of a Gateway.
func GatewayCode(namespace, name string) string { return Code(name + "-" + namespace) }

// Base is the name below which the chain of a host has its names: the host itself, of a wildcard what is behind the
// asterisk.
func Base(host string) string { return strings.TrimPrefix(host, "*.") }

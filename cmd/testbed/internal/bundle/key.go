// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
)

// keyLength is how many hexadecimal digits of the SHA-256 a key has: enough that no two of one cache meet.
const keyLength = 16

// hasher collects the inputs of a source.
type hasher struct{ h hash.Hash }

// newHasher begins a key with the kind of source and the version of the code that builds it.
func newHasher(kind string, version int) *hasher {
	h := &hasher{sha256.New()}
	h.add(kind, fmt.Sprint(version))
	return h
}

// add puts values into the key, each with its length, so that no two lists of values look alike.
func (h *hasher) add(values ...string) {
	for _, v := range values {
		fmt.Fprintf(h.h, "%d:%s\n", len(v), v)
	}
}

// file puts the content of a file into the key, under a name.
func (h *hasher) file(name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	content := sha256.New()
	if _, err := io.Copy(content, f); err != nil {
		return err
	}
	h.add(name, hex.EncodeToString(content.Sum(nil)))
	return nil
}

func (h *hasher) sum() string { return hex.EncodeToString(h.h.Sum(nil))[:keyLength] }

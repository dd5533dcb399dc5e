// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"os"

	"github.com/miekg/dns"
)

// Key is a secret that two servers share, RFC 8945.
type Key struct {
	Name      string // canonical: lower case and absolute
	Algorithm string // the canonical name, such as "hmac-sha256."
	secret    []byte
}

// hashOf gives the hash of an algorithm, or nil: RFC 8945 §6, without those that must not be used any more.
func hashOf(algorithm string) func() hash.Hash {
	switch algorithm {
	case dns.HmacSHA256:
		return sha256.New
	case dns.HmacSHA384:
		return sha512.New384
	case dns.HmacSHA512:
		return sha512.New
	}
	return nil
}

// NewKey checks the three parts of a key, the secret in base64. Errors repeat none of them: one may stand in the
// place of another.
func NewKey(name, algorithm, secret string) (*Key, error) {
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, errors.New("the key's name is no domain name")
	}
	k := &Key{Name: dns.CanonicalName(name), Algorithm: dns.CanonicalName(algorithm)}
	if hashOf(k.Algorithm) == nil {
		return nil, errors.New("the key's algorithm is unknown (hint: hmac-sha256, hmac-sha384 or hmac-sha512)")
	}
	var err error
	if k.secret, err = base64.StdEncoding.DecodeString(secret); err != nil || len(k.secret) == 0 {
		return nil, errors.New("the key's secret is not base64")
	}
	return k, nil
}

// Keys are keys by their names.
type Keys map[string]*Key

// Load adds the keys of a file. Its form is BIND's,
//
//	key "NAME" { algorithm hmac-sha256; secret "BASE64"; };
//
// any number of them, or NAME:ALGORITHM:BASE64 on each line; # and // begin comments in both. The error lists
// all mistakes as FILE:LINE:COLUMN, and never shows a secret.
func (k Keys) Load(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading TSIG keys: %w", err)
	}
	return k.parse(path, string(text))
}

func (k Keys) parse(path, text string) error {
	p := &keyParser{path: path, keys: k}
	p.split(text)
	if len(p.words) == 0 && len(p.errs) == 0 {
		p.errs = append(p.errs, fmt.Errorf("%s:1:1: there is no key (hint: key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; }; or NAME:hmac-sha256:BASE64)", path))
	}
	for len(p.words) > 0 {
		if first := p.words[0]; first.text == "key" {
			p.statement()
		} else {
			p.words = p.words[1:]
			p.line(first)
		}
	}
	return errors.Join(p.errs...)
}

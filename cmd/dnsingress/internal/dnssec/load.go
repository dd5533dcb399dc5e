// SPDX-License-Identifier: Apache-2.0

package dnssec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Load reads a key from its files, PATH.key and PATH.private as BIND writes them; path may have either ending. The
// error joins all that is wrong with both, each with file and line.
func Load(path string) (*Key, error) {
	stem := strings.TrimSuffix(strings.TrimSuffix(path, ".key"), ".private")
	public, errPublic := loadPublic(stem + ".key")
	private, errPrivate := loadPrivate(stem + ".private")
	if err := errors.Join(errPublic, errPrivate); err != nil {
		return nil, err
	}
	if private.algorithm != public.Algorithm {
		return nil, fmt.Errorf("%s: algorithm %d, but that of %s.key is %d (hint: the files are of two keys)",
			private.algorithmAt, private.algorithm, stem, public.Algorithm)
	}
	if base64.StdEncoding.EncodeToString(publicOf(private.key)) != public.PublicKey {
		return nil, fmt.Errorf("%s: the private key does not belong to the public key in %s.key (hint: the files are of two keys)",
			private.keyAt, stem)
	}
	return newKey(public, private.key), nil
}

// LoadAll reads keys and groups them by their zone. The error joins all that is wrong with any.
func LoadAll(paths []string) (map[string][]*Key, error) {
	zones := map[string][]*Key{}
	var errs []error
	for _, path := range paths {
		k, err := Load(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		zones[k.Zone()] = append(zones[k.Zone()], k)
	}
	return zones, errors.Join(errs...)
}

// loadPublic reads the one DNSKEY record of a .key file.
func loadPublic(path string) (*dns.DNSKEY, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a public key: %w", err)
	}
	var key *dns.DNSKEY
	var errs []error
	for n, line := range strings.Split(string(data), "\n") {
		fault := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, n+1, fmt.Errorf(format, args...)))
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			text := strings.TrimPrefix(err.Error(), "dns: ")
			text, _, _ = strings.Cut(text, " at line: ")
			fault("%s", text)
			continue
		}
		if rr == nil { // a comment
			continue
		}
		k, ok := rr.(*dns.DNSKEY)
		switch {
		case !ok:
			fault("%s is no DNSKEY record", dns.Type(rr.Header().Rrtype))
			continue
		case key != nil:
			fault("there is a second key")
			continue
		}
		key = k
		if k.Flags != zoneKey && k.Flags != keySigning {
			fault("flags %d (hint: 257 for a key that the parent names, 256 for one that signs records; revoked keys sign nothing here)", k.Flags)
		}
		if k.Protocol != protocolDNS {
			fault("protocol %d is not 3 (RFC 4034 §2.1.2)", k.Protocol)
		}
		if _, err := ParseAlgorithm(strconv.Itoa(int(k.Algorithm))); err != nil {
			fault("%w", err)
		}
	}
	if key == nil && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s: there is no DNSKEY record", path))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	key.Hdr.Name = dns.CanonicalName(key.Hdr.Name)
	return key, nil
}

// secret is what a .private file says, and where.
type secret struct {
	algorithm          uint8
	key                crypto.Signer
	algorithmAt, keyAt string
}

// loadPrivate reads a .private file. Its lines are "Field: value"; times and fields for other tools are let be.
func loadPrivate(path string) (secret, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return secret{}, fmt.Errorf("reading a private key: %w", err)
	}
	var s secret
	var raw []byte
	var errs []error
	if !bytes.HasPrefix(data, []byte(formatLine+" v1.")) {
		return secret{}, fmt.Errorf("%s:1: the file does not begin with %q (hint: dnsingress dnssec keygen, or dnssec-keygen)", path, formatLine+" v1.3")
	}
	for n, line := range strings.Split(string(data), "\n") {
		at := fmt.Sprintf("%s:%d", path, n+1)
		field, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.TrimSpace(line) == "":
		case !ok:
			errs = append(errs, fmt.Errorf("%s: this is no \"Field: value\"", at)) // and is not shown: it may be secret
		case field == "Algorithm":
			number, _, _ := strings.Cut(value, " ")
			if s.algorithm, err = ParseAlgorithm(number); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", at, err))
			}
			s.algorithmAt = at
		case field == "PrivateKey":
			if raw, err = base64.StdEncoding.DecodeString(value); err != nil || len(raw) != scalarSize {
				errs = append(errs, fmt.Errorf("%s: the private key is not %d octets in base64", at, scalarSize))
			}
			s.keyAt = at
		}
	}
	if s.algorithmAt == "" {
		errs = append(errs, fmt.Errorf("%s: there is no Algorithm", path))
	}
	if s.keyAt == "" {
		errs = append(errs, fmt.Errorf("%s: there is no PrivateKey", path))
	}
	if err := errors.Join(errs...); err != nil {
		return secret{}, err
	}
	switch s.algorithm {
	case dns.ED25519:
		s.key = ed25519.NewKeyFromSeed(raw)
	default:
		if s.key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), raw); err != nil {
			return secret{}, fmt.Errorf("%s: the private key is none of the curve P-256", s.keyAt)
		}
	}
	return s, nil
}

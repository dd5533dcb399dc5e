// SPDX-License-Identifier: Apache-2.0

package dnssec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Flags of a key, RFC 4034 §2.1.1.
const (
	zoneKey     = dns.ZONE              // 256: signs the zone's records
	keySigning  = dns.ZONE | dns.SEP    // 257: is what the parent's DS names
	protocolDNS = 3                     // RFC 4034 §2.1.2
	scalarSize  = 32                    // octets of a private key, of both algorithms
	privateMode = os.FileMode(0o600)    // of a .private file
	formatLine  = "Private-key-format:" // the first of a .private file
)

// Key is one key of a zone.
type Key struct {
	public  *dns.DNSKEY
	private crypto.Signer
	tag     uint16
}

// algorithms that keys can be of.
var algorithms = []uint8{dns.ECDSAP256SHA256, dns.ED25519}

// ParseAlgorithm reads an algorithm's name (ECDSAP256SHA256, ED25519) or number.
func ParseAlgorithm(s string) (uint8, error) {
	for _, a := range algorithms {
		if strings.EqualFold(s, dns.AlgorithmToString[a]) || s == strconv.Itoa(int(a)) {
			return a, nil
		}
	}
	return 0, fmt.Errorf("algorithm %q is not one to sign with (hint: ECDSAP256SHA256 or ED25519)", s)
}

// Generate makes a key for a zone. One that is for signing keys carries the flag SEP: alone it signs everything (CSK), with
// a key that is not it signs the keys alone (KSK and ZSK).
func Generate(zone string, algorithm uint8, signsKeys bool) (*Key, error) {
	if _, ok := dns.IsDomainName(zone); !ok {
		return nil, fmt.Errorf("%q is no domain name", zone)
	}
	seed := make([]byte, scalarSize)
	var private crypto.Signer
	var err error
	switch algorithm {
	case dns.ECDSAP256SHA256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case dns.ED25519:
		if _, err = rand.Read(seed); err == nil {
			private = ed25519.NewKeyFromSeed(seed)
		}
	default:
		err = fmt.Errorf("algorithm %d is not one to sign with", algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("making a key for %s: %w", zone, err)
	}
	flags := uint16(zoneKey)
	if signsKeys {
		flags = keySigning
	}
	return newKey(&dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: dns.CanonicalName(zone), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
		Flags: flags, Protocol: protocolDNS, Algorithm: algorithm, PublicKey: base64.StdEncoding.EncodeToString(publicOf(private)),
	}, private), nil
}

func newKey(public *dns.DNSKEY, private crypto.Signer) *Key {
	return &Key{public: public, private: private, tag: public.KeyTag()}
}

// publicOf returns the public key as a DNSKEY record has it: RFC 6605 §4, RFC 8080 §3.
func publicOf(private crypto.Signer) []byte {
	switch k := private.Public().(type) {
	case *ecdsa.PublicKey:
		b, err := k.Bytes()
		if err != nil { // it is a point of the curve
			panic("dnssec: " + err.Error())
		}
		return b[1:] // without the mark of an uncompressed point
	case ed25519.PublicKey:
		return k
	}
	return nil
}

// Zone returns the name of the zone that the key is for, canonical.
func (k *Key) Zone() string { return k.public.Hdr.Name }

// Tag returns the key tag, RFC 4034 appendix B.
func (k *Key) Tag() uint16 { return k.tag }

// Algorithm returns the algorithm's number.
func (k *Key) Algorithm() uint8 { return k.public.Algorithm }

// SignsKeys tells whether the key has the flag SEP.
func (k *Key) SignsKeys() bool { return k.public.Flags == keySigning }

// DNSKEY returns the public key with a TTL in seconds.
func (k *Key) DNSKEY(ttl uint32) *dns.DNSKEY {
	rr := dns.Copy(k.public).(*dns.DNSKEY)
	rr.Hdr.Ttl = ttl
	return rr
}

// DS returns what the parent zone is to hold for the key, with a SHA-256 digest (RFC 4509).
func (k *Key) DS(ttl uint32) *dns.DS { return k.DNSKEY(ttl).ToDS(dns.SHA256) }

// Name is what the key's files are called without the ending: K, zone, algorithm and tag, as BIND has it.
func (k *Key) Name() string {
	return fmt.Sprintf("K%s+%03d+%05d", strings.ReplaceAll(k.Zone(), "/", "%2F"), k.Algorithm(), k.Tag())
}

// Files gives the contents of the key's two files, as of an instant of creation.
func (k *Key) Files(created time.Time) (public, private string) {
	kind := "zone-signing"
	if k.SignsKeys() {
		kind = "key-signing"
	}
	stamp := created.UTC().Format("20060102150405")
	public = fmt.Sprintf("; This is a %s key, keyid %d, for %s\n; Created: %s\n%s IN DNSKEY %d %d %d %s\n",
		kind, k.Tag(), k.Zone(), stamp, k.Zone(), k.public.Flags, k.public.Protocol, k.Algorithm(), k.public.PublicKey)
	private = fmt.Sprintf("%s v1.3\nAlgorithm: %d (%s)\nPrivateKey: %s\nCreated: %s\n",
		formatLine, k.Algorithm(), dns.AlgorithmToString[k.Algorithm()], base64.StdEncoding.EncodeToString(k.secret()), stamp)
	return public, private
}

func (k *Key) secret() []byte {
	switch p := k.private.(type) {
	case *ecdsa.PrivateKey:
		b, err := p.Bytes()
		if err != nil {
			panic("dnssec: " + err.Error())
		}
		return b
	case ed25519.PrivateKey:
		return p.Seed()
	}
	return nil
}

// Write puts the key's two files into a directory and returns their paths, the public one first. Files that are there
// already are an error.
func (k *Key) Write(dir string, created time.Time) (paths []string, err error) {
	public, private := k.Files(created)
	for _, f := range []struct {
		path, text string
		mode       os.FileMode
	}{
		{filepath.Join(dir, k.Name()+".private"), private, privateMode},
		{filepath.Join(dir, k.Name()+".key"), public, 0o644},
	} {
		if err := writeNew(f.path, f.text, f.mode); err != nil {
			for _, p := range paths {
				err = errors.Join(err, os.Remove(p))
			}
			return nil, fmt.Errorf("writing key files: %w", err)
		}
		paths = append([]string{f.path}, paths...)
	}
	return paths, nil
}

func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// ecdsaSignature is what crypto/ecdsa makes.
type ecdsaSignature struct{ R, S *big.Int }

// sign returns the signature field of an RRSIG over data: RFC 6605 §4, RFC 8080 §4.
func (k *Key) sign(data []byte) ([]byte, error) {
	if p, ok := k.private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(p, data), nil
	}
	digest := sha256.Sum256(data)
	der, err := k.private.Sign(nil, digest[:], crypto.SHA256) // without randomness: RFC 6979
	if err != nil {
		return nil, err
	}
	var s ecdsaSignature
	if _, err := asn1.Unmarshal(der, &s); err != nil {
		return nil, err
	}
	out := make([]byte, 2*scalarSize)
	s.R.FillBytes(out[:scalarSize])
	s.S.FillBytes(out[scalarSize:])
	return out, nil
}

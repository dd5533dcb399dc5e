// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// errUnusable says that a file is missing, or holds nothing that can be used: it is made anew.
var errUnusable = errors.New("pki: unusable")

func subject(commonName, organization string) pkix.Name {
	n := pkix.Name{CommonName: commonName}
	if organization != "" {
		n.Organization = []string{organization}
	}
	return n
}

// template returns what the identity's certificate shall say.
func (id identity) template(now time.Time) *x509.Certificate {
	c := &x509.Certificate{
		Subject:               subject(id.commonName, id.organization),
		NotAfter:              now.Add(leafLife),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:              id.dns,
	}
	for _, ip := range id.ips {
		c.IPAddresses = append(c.IPAddresses, net.IP(ip.AsSlice()))
	}
	return c
}

// matches says whether a certificate is for this identity, with all its names and addresses and no others.
func (id identity) matches(c *x509.Certificate) bool {
	var ips []netip.Addr
	for _, raw := range c.IPAddresses {
		ip, _ := netip.AddrFromSlice(raw)
		ips = append(ips, ip.Unmap())
	}
	want := subject(id.commonName, id.organization)
	return c.Subject.CommonName == want.CommonName && slices.Equal(c.Subject.Organization, want.Organization) &&
		slices.Equal(c.DNSNames, id.dns) && slices.Equal(ips, id.ips)
}

// create makes a key and a certificate for it, signed by ca, or by itself if ca is nil, and writes both.
func (d *directory) create(name string, template *x509.Certificate, ca *pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("making a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return pair{}, fmt.Errorf("making a serial number: %w", err)
	}
	template.NotBefore = d.now.Add(-time.Hour) // nodes' clocks may be behind
	parent, signer := template, crypto.Signer(key)
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return pair{}, fmt.Errorf("signing: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return pair{}, fmt.Errorf("reading what was signed: %w", err)
	}
	// The key first: a new certificate beside an old key would be taken for good by nobody, but an old certificate beside a
	// new key is found out by read.
	if err := d.writeKey(name, key); err != nil {
		return pair{}, err
	}
	return pair{cert, key}, d.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// read returns a pair of the directory whose halves belong together; errUnusable if there is none.
func (d *directory) read(name string) (pair, error) {
	der, err := d.readPEM(name + ".crt")
	if err != nil {
		return pair{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return pair{}, fmt.Errorf("%w: %s.crt: %w", errUnusable, name, err)
	}
	key, err := d.readKey(name)
	if err != nil {
		return pair{}, err
	}
	if public, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(key.Public()) {
		return pair{}, fmt.Errorf("%w: %s.key is not the key of %s.crt", errUnusable, name, name)
	}
	return pair{cert, key}, nil
}

func (d *directory) readKey(name string) (crypto.Signer, error) {
	der, err := d.readPEM(name + ".key")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %s.key: %w", errUnusable, name, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: %s.key cannot sign", errUnusable, name)
	}
	return signer, nil
}

func (d *directory) readPEM(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%w: %s is not PEM", errUnusable, name)
	}
	return block.Bytes, nil
}

func (d *directory) writeKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the key of %s: %w", name, err)
	}
	return d.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

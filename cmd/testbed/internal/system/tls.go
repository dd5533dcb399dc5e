// SPDX-License-Identifier: Apache-2.0

package system

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// caPath is the file on client nodes with the certificate to trust.
const caPath = "/opt/testbed/tls/ca.pem"

// certificate is that of every system's names in a run: ECDSA on P-256, signed by itself, so that all present the same.
type certificate struct{ Cert, Key []byte } // PEM

// tlsLife is longer than any run.
const tlsLife = 30 * 24 * time.Hour

// newCertificate makes one for the names in the zone and those of proxies.
func newCertificate(inv *inventory.Inventory, now time.Time) (certificate, error) {
	zone := strings.TrimSuffix(inv.Zone, ".")
	names := []string{"*." + zone, "*." + ProxyDomain[:len(ProxyDomain)-1]}
	for _, s := range All() {
		if s.reach == byProxy && s.product == "" {
			names = append(names, "*."+s.Host(inv))
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, fmt.Errorf("making the key of the systems' names: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return certificate{}, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "testbed " + inv.Cluster}, DNSNames: names,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(tlsLife), // nodes' clocks may be behind
		BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return certificate{}, fmt.Errorf("signing the certificate of the systems' names: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return certificate{}, fmt.Errorf("encoding the key of the systems' names: %w", err)
	}
	return certificate{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}, nil
}

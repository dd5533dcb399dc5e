// SPDX-License-Identifier: Apache-2.0

// Package pki makes the certificates, keys and kubeconfigs of a cluster. They live in one directory of the cluster's
// state:
//
//	ca.{crt,key}              the one authority, for servers and clients (10 years)
//	sa.{key,pub}              signs service account tokens (RSA, as the API server wants by default)
//	<name>.{crt,key}          one pair for each identity, good for TLS servers and clients (1 year)
//	<name>.kubeconfig         for identities that are clients of the API server, with the pair inside
//
// Names are apiserver, kubelet-client, proxy-client, admin, controller-manager, scheduler, kube-proxy, prometheus, and
// node-<name> for each worker.
package pki

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// How long certificates last, and how long before its end one is replaced.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 365 * 24 * time.Hour
	renewal  = 30 * 24 * time.Hour
)

// identity is one key pair of the cluster.
type identity struct {
	name         string // of the files
	commonName   string // the user, for Kubernetes
	organization string // the group, for Kubernetes
	dns          []string
	ips          []netip.Addr
	kubeconfig   bool
}

// identities lists what a cluster needs.
func identities(inv *inventory.Inventory) ([]identity, error) {
	control := inv.ControlPlane()
	if control.Name == "" {
		return nil, fmt.Errorf("the cluster has 0 control nodes (hint: give a node the group %s)", inventory.Control)
	}
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	ids := []identity{
		{
			name: "apiserver", commonName: "kube-apiserver",
			dns: []string{control.Name, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
			ips: append(loopback, control.Address, inv.API()),
		},
		{name: "kubelet-client", commonName: "apiserver-kubelet-client", organization: "system:masters"},
		{name: "proxy-client", commonName: "front-proxy-client"},
		{name: "admin", commonName: "admin", organization: "system:masters", kubeconfig: true},
		{name: "controller-manager", commonName: "system:kube-controller-manager", kubeconfig: true},
		{name: "scheduler", commonName: "system:kube-scheduler", kubeconfig: true},
		{name: "kube-proxy", commonName: "system:kube-proxy", kubeconfig: true},
		{name: "prometheus", commonName: "testbed:prometheus", kubeconfig: true},
	}
	for _, n := range inv.Group(inventory.Worker) {
		ids = append(ids, identity{
			name: "node-" + n.Name, commonName: "system:node:" + n.Name, organization: "system:nodes",
			dns: []string{n.Name}, ips: []netip.Addr{n.Address}, kubeconfig: true,
		})
	}
	return ids, nil
}

// Ensure makes in dir what is missing, what ends soon, and what is not as this inventory wants it; everything else stays
// as it is. It returns the names of the files that it wrote.
func Ensure(dir string, inv *inventory.Inventory, now time.Time) (written []string, err error) {
	ids, err := identities(inv)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of keys: %w", err)
	}
	d := &directory{path: dir, now: now}
	ca, err := d.authority(strings.TrimSuffix(inv.Cluster+" "+inv.Member, " "))
	if err != nil {
		return nil, err
	}
	if err := d.serviceAccount(); err != nil {
		return nil, err
	}
	server := "https://" + netip.AddrPortFrom(inv.ControlPlane().Address, 443).String()
	for _, id := range ids {
		if err := d.leaf(ca, id); err != nil {
			return nil, fmt.Errorf("making the certificate of %s: %w", id.name, err)
		}
		if id.kubeconfig {
			if err := d.kubeconfig(id.name, cmp.Or(inv.Member, "testbed"), server); err != nil {
				return nil, err
			}
		}
	}
	return d.written, nil
}

// directory is where the files are.
type directory struct {
	path    string
	now     time.Time
	written []string
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// authority returns the CA, made anew if there is none that lasts.
func (d *directory) authority(cluster string) (pair, error) {
	ca, err := d.read("ca")
	if err == nil && ca.cert.IsCA && ca.cert.Subject.CommonName == caName(cluster) && d.lasts(ca.cert) {
		return ca, nil
	}
	if err != nil && !errors.Is(err, errUnusable) {
		return pair{}, err
	}
	return d.create("ca", &x509.Certificate{
		Subject:               subject(caName(cluster), ""),
		NotAfter:              d.now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}, nil)
}

func caName(cluster string) string { return "testbed " + cluster }

// leaf makes the pair of an identity unless a good one is there.
func (d *directory) leaf(ca pair, id identity) error {
	have, err := d.read(id.name)
	if err == nil && d.lasts(have.cert) && id.matches(have.cert) && have.cert.CheckSignatureFrom(ca.cert) == nil {
		return nil
	}
	if err != nil && !errors.Is(err, errUnusable) {
		return err
	}
	_, err = d.create(id.name, id.template(d.now), &ca)
	return err
}

// lasts says whether a certificate is valid now and for a while.
func (d *directory) lasts(c *x509.Certificate) bool {
	return !d.now.Before(c.NotBefore) && d.now.Add(renewal).Before(c.NotAfter)
}

// serviceAccount makes the key of service account tokens unless it is there.
func (d *directory) serviceAccount() error {
	if key, err := d.readKey("sa"); err == nil {
		if _, ok := key.(*rsa.PrivateKey); ok {
			return d.publicKey(key)
		}
	} else if !errors.Is(err, errUnusable) {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the service account key: %w", err)
	}
	if err := d.writeKey("sa", key); err != nil {
		return err
	}
	return d.publicKey(key)
}

func (d *directory) publicKey(key crypto.Signer) error {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the service account key: %w", err)
	}
	return d.write("sa.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644)
}

// write replaces a file at once and whole, if its content differs.
func (d *directory) write(name string, data []byte, mode fs.FileMode) error {
	file := filepath.Join(d.path, name)
	if old, err := os.ReadFile(file); err == nil && slices.Equal(old, data) {
		return nil
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	d.written = append(d.written, name)
	return nil
}

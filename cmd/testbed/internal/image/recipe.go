// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/fat"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// format counts changes of this package that give other bytes for the same inputs and that the rendered files do not show.
const format = 1

// Recipe is what the images of an inventory's nodes are made from. It is safe for concurrent use; close it.
type Recipe struct {
	Inventory  *inventory.Inventory
	Cache      string                            // directory of the cache
	HostKey    func(node string) ([]byte, error) // the private key of a node's SSH server, in OpenSSH's format
	Authorized []byte                            // lines of authorized_keys for root
	Report     func(Progress)                    // told of what takes long; may be nil

	mu    sync.Mutex
	debs  map[string][]deb // by their directory
	bases map[string]*base // by the id of the operating system
}

// base is an operating system with what all nodes get: they share it.
type base struct {
	file   *os.File
	layout *Layout
	disk   *overlay
}

// Close releases the operating systems' files; images are no longer to be read then.
func (r *Recipe) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, b := range r.bases {
		errs = append(errs, b.file.Close())
	}
	clear(r.bases)
	return errors.Join(errs...)
}

// system returns the operating system that a node is to have.
func (r *Recipe) system(n inventory.Node) (inventory.Image, error) {
	image, ok := r.Inventory.ImageOf(n)
	if !ok {
		return image, fmt.Errorf("the inventory names no image for %s (hint: images: and image: in %s)", n.Name, r.Inventory.Path)
	}
	return image, nil
}

// settings returns what makes a node's card its own.
func (r *Recipe) settings(n inventory.Node, image inventory.Image) (settings, error) {
	key, err := r.HostKey(n.Name)
	if err != nil {
		return settings{}, fmt.Errorf("finding the host key of %s: %w", n.Name, err)
	}
	if err := pinned(n, key); err != nil {
		return settings{}, err
	}
	if len(lines(r.Authorized)) == 0 {
		return settings{}, errors.New("nobody's key is authorised: nobody could reach the node")
	}
	s := settings{
		hostname: n.Name, hostKey: key, authorized: r.Authorized, eeprom: DefaultEEPROM(),
		address: netip.PrefixFrom(n.Address, r.Inventory.Network.Nodes.Bits()),
	}
	if !n.MAC.IsZero() {
		s.mac = n.MAC.String()
	}
	maps.Copy(s.eeprom, image.EEPROM)
	return s, nil
}

// pinned refuses a host key other than the one that the inventory pins.
func pinned(n inventory.Node, private []byte) error {
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return fmt.Errorf("reading the host key of %s: %w", n.Name, err)
	}
	if n.HostKey == "" {
		return nil
	}
	want, _, _, _, err := ssh.ParseAuthorizedKey([]byte(n.HostKey))
	if err != nil {
		return fmt.Errorf("reading hostKey of %s in the inventory: %w", n.Name, err)
	}
	if !bytes.Equal(want.Marshal(), signer.PublicKey().Marshal()) {
		return fmt.Errorf("the host key of %s here is %s, the inventory pins %s (hint: the cluster's state is of another machine; copy its ssh/hostkeys)",
			n.Name, ssh.FingerprintSHA256(signer.PublicKey()), ssh.FingerprintSHA256(want))
	}
	return nil
}

// packages reads an operating system's packages, once for all nodes.
func (r *Recipe) packages(ctx context.Context, image inventory.Image) ([]deb, error) {
	if image.Packages == "" {
		return nil, nil
	}
	dir := r.path(image.Packages)
	r.mu.Lock()
	defer r.mu.Unlock()
	if list, ok := r.debs[dir]; ok {
		return list, nil
	}
	list, err := debs(ctx, dir)
	if err != nil {
		return nil, err
	}
	if r.debs == nil {
		r.debs = map[string][]deb{}
	}
	r.debs[dir] = list
	return list, nil
}

// path resolves a path of the inventory.
func (r *Recipe) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(r.Inventory.Path), name)
}

// ID returns the id of a node's image, 16 hexadecimal digits, without making it: a hash of everything that it is made of.
func (r *Recipe) ID(ctx context.Context, n inventory.Node) (string, error) {
	image, err := r.system(n)
	if err != nil {
		return "", err
	}
	s, err := r.settings(n, image)
	if err != nil {
		return "", err
	}
	return r.id(ctx, image, s)
}

func (r *Recipe) id(ctx context.Context, image inventory.Image, s settings) (string, error) {
	packages, err := r.packages(ctx, image)
	if err != nil {
		return "", err
	}
	parts := []any{"testbed image", format, strings.ToLower(image.SHA256), image.Init, image.Config, image.Cmdline, defaultCmdline}
	for _, d := range packages {
		parts = append(parts, d.name(), d.sha256)
	}
	for _, render := range []func(string) ([]byte, error){
		s.userData, s.metaData, s.firstrun, func(string) ([]byte, error) { return s.networkConfig() },
	} {
		b, err := render("")
		if err != nil {
			return "", err
		}
		parts = append(parts, b)
	}
	canonical, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("hashing the inputs of an image: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:8]), nil
}

// base returns an operating system with what all its nodes get, fetching it if need be.
func (r *Recipe) base(ctx context.Context, image inventory.Image) (*base, error) {
	packages, err := r.packages(ctx, image)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.bases[image.ID]; ok {
		return b, nil
	}
	src := &source{Image: image, resolve: r.path, cache: r.Cache, report: r.Report}
	f, err := src.open(ctx)
	if err != nil {
		return nil, err
	}
	b, err := newBase(f, image, packages)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("image %s: %w", image.ID, err)
	}
	if r.bases == nil {
		r.bases = map[string]*base{}
	}
	r.bases[image.ID] = b
	return b, nil
}

func newBase(f *os.File, image inventory.Image, packages []deb) (*base, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	l, err := Inspect(f, info.Size())
	if err != nil {
		return nil, err
	}
	if image.Init != "" {
		l.Init = image.Init
	}
	if l.Init == "" {
		return nil, fmt.Errorf("%s has neither cloud-init nor Raspberry Pi OS's script of the first boot: nothing would read what is put there (hint: another image; init: cloud-init if you know better)", l.System)
	}
	b := &base{file: f, layout: l, disk: newOverlay(f, info.Size())}
	return b, b.addPackages(packages)
}

// addPackages puts the packages on the boot partition that the system does not have already.
func (b *base) addPackages(packages []deb) error {
	for _, d := range packages {
		if d.arch != "all" && b.layout.Arch != "" && d.arch != b.layout.Arch {
			return fmt.Errorf("package %s is not for %s, the image's architecture", d.name(), b.layout.Arch)
		}
	}
	installed, err := installed(section{b.disk, b.layout.Root.Start, b.layout.Root.Size})
	if err != nil {
		return err
	}
	packages = missing(packages, installed)
	if len(packages) == 0 {
		return nil
	}
	boot, err := b.boot(b.disk)
	if err != nil {
		return err
	}
	need := int64(0)
	for _, d := range packages {
		need += d.size
	}
	const rest = 1 << 20 // for the files of a node
	if have := boot.Free(); need+rest > have {
		return fmt.Errorf("the packages need %d MiB, the boot partition has %d MiB free (hint: fewer packages)", need>>20, have>>20)
	}
	for _, dir := range []string{"testbed", packageDir} {
		if err := boot.Mkdir(dir); err != nil {
			return err
		}
	}
	for _, d := range packages {
		if err := addPackage(boot, d); err != nil {
			return err
		}
	}
	return boot.Flush()
}

func addPackage(boot *fat.FS, d deb) error {
	f, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("reading a package: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if err := boot.WriteFile(packageDir+"/"+d.name(), io.TeeReader(f, h), d.size); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != d.sha256 {
		return fmt.Errorf("package %s changed while it was read", d.path)
	}
	return nil
}

// boot opens the boot partition's file system.
func (b *base) boot(disk *overlay) (*fat.FS, error) {
	f, err := fat.Open(section{disk, b.layout.Boot.Start, b.layout.Boot.Size}, b.layout.Boot.Size)
	if err != nil {
		return nil, fmt.Errorf("opening the boot partition: %w", err)
	}
	return f, nil
}

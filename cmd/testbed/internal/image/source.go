// SPDX-License-Identifier: Apache-2.0

package image

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Progress is one report of something that takes long.
type Progress struct {
	What  string // "fetching", "unpacking"
	Image string // the operating system's id
	Done  int64  // bytes
	Total int64  // bytes; 0: nobody knows
}

// source is a published image, and where it is kept.
type source struct {
	inventory.Image
	resolve func(path string) string // where a path of the inventory leads
	cache   string
	report  func(Progress)
}

// path is where the unpacked image is kept, by the hash of what it was unpacked from.
func (s *source) path() string { return filepath.Join(s.cache, "os", strings.ToLower(s.SHA256)+".img") }

// open returns the unpacked image, fetching and unpacking it if need be. What is in the cache has been checked: files get
// their names there when they are whole and on the disk.
func (s *source) open(ctx context.Context) (*os.File, error) {
	if f, err := os.Open(s.path()); !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := os.MkdirAll(filepath.Dir(s.path()), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	lock, err := os.OpenFile(s.path()+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a lock of the cache: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("image %s is being fetched by another testbed: %w (hint: wait for its end)", s.ID, err)
	}
	packed, err := s.packed(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetching image %s: %w", s.ID, err)
	}
	defer packed.Close()
	if err := s.check(ctx, packed); err != nil {
		return nil, err
	}
	if err := s.unpack(ctx, packed); err != nil {
		return nil, fmt.Errorf("unpacking image %s: %w", s.ID, err)
	}
	if packed.Name() == s.download() {
		_ = os.Remove(packed.Name()) // only its space would be missed
	}
	return os.Open(s.path())
}

func (s *source) download() string { return s.path() + ".download" }

// packed returns the image as it is published: a local file, or one that is fetched. What an interrupted fetch left is gone
// on with.
func (s *source) packed(ctx context.Context) (*os.File, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return os.Open(s.resolve(strings.TrimPrefix(s.URL, "file://")))
	}
	f, err := os.OpenFile(s.download(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := s.fetch(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (s *source) fetch(ctx context.Context, f *os.File) error {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK: // from the start, whatever was asked
		if have, err = 0, f.Truncate(0); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	case http.StatusRequestedRangeNotSatisfiable: // all of it is there
		return nil
	default:
		return fmt.Errorf("%s answers %s", s.URL, resp.Status)
	}
	m := &meter{ctx: ctx, report: s.report, p: Progress{What: "fetching", Image: s.ID, Done: have}}
	if resp.ContentLength > 0 {
		m.p.Total = have + resp.ContentLength
	}
	if _, err := io.Copy(f, io.TeeReader(resp.Body, m)); err != nil {
		return err
	}
	return f.Sync()
}

// check compares the published file with its pinned hash.
func (s *source) check(ctx context.Context, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("checking image %s: %w", s.ID, err)
	}
	h := sha256.New()
	m := &meter{ctx: ctx, report: s.report, p: Progress{What: "checking", Image: s.ID, Total: info.Size()}}
	if _, err := io.Copy(io.MultiWriter(h, m), io.NewSectionReader(f, 0, info.Size())); err != nil {
		return fmt.Errorf("checking image %s: %w", s.ID, err)
	}
	got := hex.EncodeToString(h.Sum(nil))
	if strings.EqualFold(got, s.SHA256) {
		return nil
	}
	hint := "it is not the file that was pinned"
	if f.Name() == s.download() {
		_ = os.Remove(f.Name())
		hint = "what was fetched is thrown away; if it comes again, do not trust it"
	}
	return fmt.Errorf("image %s: %s has SHA-256 %s, pinned is %s (hint: %s)", s.ID, s.URL, got, s.SHA256, hint)
}

// most bytes of an unpacked image: more is a mistake, or a bomb.
const mostUnpacked = 64 << 30

// unpack writes the image, uncompressed and with holes where it is empty, into the cache.
func (s *source) unpack(ctx context.Context, packed *os.File) error {
	info, err := packed.Stat()
	if err != nil {
		return err
	}
	m := &meter{ctx: ctx, report: s.report, p: Progress{What: "unpacking", Image: s.ID, Total: info.Size()}}
	r, err := decompressed(io.TeeReader(io.NewSectionReader(packed, 0, info.Size()), m))
	if err != nil {
		return err
	}
	tmp, err := os.Create(s.path() + ".new")
	if err != nil {
		return err
	}
	defer func() { tmp.Close(); _ = os.Remove(tmp.Name()) }() // after the renaming there is nothing of that name
	if err := sparse(tmp, io.LimitReader(r, mostUnpacked+1)); err != nil {
		return err
	}
	size, err := tmp.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size > mostUnpacked {
		return fmt.Errorf("it has more than %d bytes", int64(mostUnpacked))
	}
	// It is inspected before anybody builds on it: what is no disk does not get into the cache.
	if _, err := Inspect(tmp, size); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), s.path())
}

// decompressed returns what r holds, whichever way it is compressed; what is not, as it is.
func decompressed(r io.Reader) (io.Reader, error) {
	head := make([]byte, 6)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	r = io.MultiReader(strings.NewReader(string(head[:n])), r)
	switch {
	case string(head) == "\xfd7zXZ\x00":
		return xz.NewReader(r)
	case string(head[:4]) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case string(head[:2]) == "\x1f\x8b":
		return gzip.NewReader(r)
	case string(head[:4]) == "PK\x03\x04", string(head[:4]) == "QFI\xfb":
		return nil, errors.New("a zip archive or a qcow2 disk (hint: the raw image, as it is or packed with xz, zstd or gzip)")
	}
	return r, nil
}

// sparse copies r to f, leaving out what is zero.
func sparse(f *os.File, r io.Reader) error {
	const block = 64 << 10
	b := make([]byte, block)
	for at := int64(0); ; {
		n, err := io.ReadFull(r, b)
		if n > 0 && !zero(b[:n]) {
			if _, err := f.WriteAt(b[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n < block {
			return f.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// meter reports progress every 16 MiB, and ends when its context does.
type meter struct {
	ctx    context.Context
	report func(Progress)
	p      Progress
	said   int64
}

func (m *meter) Write(b []byte) (int, error) {
	m.p.Done += int64(len(b))
	if m.report != nil && m.p.Done-m.said >= 16<<20 {
		m.said = m.p.Done
		m.report(m.p)
	}
	return len(b), m.ctx.Err()
}

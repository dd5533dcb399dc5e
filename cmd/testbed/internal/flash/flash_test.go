// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// memory is a card of any size that keeps only what is written to it, and may have what bad cards have.
type memory struct {
	size   int64
	blocks map[int64][]byte
	wraps  int64 // addresses begin anew after so many bytes
	ends   int64 // what is beyond is forgotten
	fails  int64 // reading and writing from here on fail
	flips  int64 // this byte comes back as another one
	cut    int64 // power fails when so many bytes have been written
	wrote  int64
}

func newMemory(size int64) *memory { return &memory{size: size, blocks: map[int64][]byte{}, flips: -1} }

var errIO = errors.New("input/output error")

func (m *memory) place(at int64) int64 {
	if m.wraps > 0 {
		return at % m.wraps
	}
	return at
}

func (m *memory) each(p []byte, off int64, do func(b []byte, at int64)) error {
	if off < 0 || off+int64(len(p)) > m.size {
		return io.EOF
	}
	if m.fails > 0 && off+int64(len(p)) > m.fails {
		return errIO
	}
	for len(p) > 0 {
		n := min(int64(len(p)), block-off%block)
		do(p[:n], off)
		p, off = p[n:], off+n
	}
	return nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	err := m.each(p, off, func(b []byte, at int64) {
		clear(b)
		if m.ends > 0 && at >= m.ends {
			return
		}
		copy(b, m.blocks[m.place(at)/block][at%block:min(at%block+int64(len(b)), int64(len(m.blocks[m.place(at)/block])))])
		if m.flips >= at && m.flips < at+int64(len(b)) {
			b[m.flips-at] ^= 1
		}
	})
	return len(p), err
}

var errCut = errors.New("the power failed")

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if m.cut > 0 && m.wrote+int64(len(p)) > m.cut {
		n := (m.cut - m.wrote) / 512 * 512
		m.wrote += n
		m.cut = m.wrote
		if n > 0 {
			_ = m.store(p[:n], off)
		}
		return 0, errCut
	}
	m.wrote += int64(len(p))
	return len(p), m.store(p, off)
}

func (m *memory) store(p []byte, off int64) error {
	return m.each(p, off, func(b []byte, at int64) {
		if m.ends > 0 && at >= m.ends {
			return
		}
		k := m.place(at) / block
		if m.blocks[k] == nil {
			m.blocks[k] = make([]byte, block)
		}
		copy(m.blocks[k][at%block:], b)
	})
}

func (m *memory) Sync() error {
	if m.cut > 0 && m.wrote >= m.cut {
		return errCut
	}
	return nil
}

// picture is an image.
type picture []byte

func (p picture) ReadAt(b []byte, off int64) (int, error) { return bytes.NewReader(p).ReadAt(b, off) }
func (p picture) Size() int64                             { return int64(len(p)) }

func noise(n int, seed uint64) picture {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 2))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

var options = Options{Node: "worker-1", Image: "0123456789abcdef"}

func content(t *testing.T, dev io.ReaderAt, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := dev.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// A card has all of the image in the end, and nothing else has changed.
func TestWrite(t *testing.T) {
	for name, size := range map[string]int{"several chunks": 9<<20 + 512*3, "less than the head": 512 << 10, "the head alone": head, "whole chunks": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			src := noise(size, 1)
			m := newMemory(64 << 30)
			at := []int64{4096, 12 << 20, 32 << 30, 64<<30 - 4096} // somebody's data
			for _, a := range at {
				if _, err := m.WriteAt(noise(block, uint64(a)), a); err != nil {
					t.Fatal(err)
				}
			}
			var steps []string
			o := options
			o.Report = func(p Progress) {
				if len(steps) == 0 || steps[len(steps)-1] != p.Step {
					steps = append(steps, p.Step)
				}
				if p.Done > p.Total {
					t.Errorf("%+v", p)
				}
			}
			result, err := write(t.Context(), m, Disk{Path: "card", Size: m.size}, src, o)
			if err != nil {
				t.Fatal(err)
			}
			if result.Bytes != int64(size) || result.Torn != nil {
				t.Errorf("%+v", result)
			}
			if got := strings.Join(steps, " "); got != "probing writing verifying" {
				t.Errorf("steps: %s", got)
			}
			if !bytes.Equal(content(t, m, size), src) {
				t.Error("the card has something else")
			}
			for _, a := range at {
				b := make([]byte, block)
				if _, err := m.ReadAt(b, a); a >= int64(size) && (err != nil || !bytes.Equal(b, noise(block, uint64(a)))) {
					t.Errorf("behind the image, byte %d is another (%v)", a, err)
				}
			}
		})
	}
}

// Whenever the power fails, the card has the mark, or the whole image; and the next write sees the mark and does it again.
func TestPowerCut(t *testing.T) {
	const size = 6 << 20
	src := noise(size, 3)
	old := noise(size, 4)
	whole := newMemory(8 << 30)
	if _, err := write(t.Context(), whole, Disk{Path: "card", Size: whole.size}, src, options); err != nil {
		t.Fatal(err)
	}
	torn := 0
	for cut := int64(512); cut < whole.wrote; cut += whole.wrote/97/512*512 + 512 {
		m := newMemory(8 << 30)
		if _, err := m.WriteAt(old, 0); err != nil {
			t.Fatal(err)
		}
		m.wrote, m.cut = 0, cut
		_, err := write(t.Context(), m, Disk{Path: "card", Size: m.size}, src, options)
		if !errors.Is(err, errCut) {
			t.Fatalf("power failed after %d bytes: %v", cut, err)
		}
		m.cut = 0
		first := content(t, m, block)
		mark, marked := parseMark(first)
		switch got := content(t, m, size); {
		case marked:
			torn++
			if mark.Node != options.Node || mark.Image != options.Image || time.Since(mark.Began) > time.Hour {
				t.Errorf("after %d bytes: %+v", cut, mark)
			}
		case bytes.Equal(first[:512], old[:512]) && cut <= block: // the mark itself was cut
		case !bytes.Equal(got[block:], src[block:]):
			t.Errorf("after %d bytes the card has neither the mark nor the whole image", cut)
		}
		result, err := write(t.Context(), m, Disk{Path: "card", Size: m.size}, src, options)
		if err != nil {
			t.Fatal(err)
		}
		if (result.Torn != nil) != marked {
			t.Errorf("after %d bytes: the next write saw %+v", cut, result.Torn)
		}
		if !bytes.Equal(content(t, m, size), src) {
			t.Errorf("after %d bytes, written again: the card has something else", cut)
		}
	}
	if torn < 50 {
		t.Errorf("only %d cuts in the middle", torn)
	}
}

// Cards that hold less than they say are found before the image is written, and have what they had.
func TestLyingCard(t *testing.T) {
	for _, c := range []struct {
		name  string
		m     memory
		keeps int64
	}{
		{"begins anew at a power of two", memory{wraps: 8 << 30}, 8 << 30},
		{"begins anew very early", memory{wraps: 64 << 20}, 64 << 20},
		{"forgets", memory{ends: 7_948_206_080}, 8 << 30},
		{"forgets the last megabyte", memory{ends: 64<<30 - 1<<20}, 64 << 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory(64 << 30)
			m.wraps, m.ends = c.m.wraps, c.m.ends
			old := noise(4<<20, 5)
			if _, err := m.WriteAt(old, 0); err != nil {
				t.Fatal(err)
			}
			_, err := write(t.Context(), m, Disk{Path: "/dev/sdx", Size: m.size}, noise(6<<20, 6), options)
			var lie *LyingError
			if !errors.As(err, &lie) || lie.Says != 64<<30 || lie.Keeps > c.keeps || lie.Keeps < c.keeps/16 {
				t.Fatalf("%v (%+v)", err, lie)
			}
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "the card lies about its size") {
				t.Errorf("%q", err)
			}
			if !bytes.Equal(content(t, m, len(old)), old) {
				t.Error("it was written to")
			}
		})
	}
	honest := newMemory(31_914_983_424) // as a card of 32 GB
	if _, err := write(t.Context(), honest, Disk{Path: "card", Size: honest.size}, noise(6<<20, 6), options); err != nil {
		t.Errorf("an honest card: %v", err)
	}
}

// A card that keeps what it is told for a while only is found when the image is on it.
func TestBadCard(t *testing.T) {
	src := noise(6<<20, 7)
	m := newMemory(8 << 30)
	m.flips = 5_000_001
	_, err := write(t.Context(), m, Disk{Path: "/dev/sdx", Size: m.size}, src, options)
	if err == nil || !strings.Contains(err.Error(), "/dev/sdx does not keep what is written to it: at byte 5000001 there is ") {
		t.Errorf("a flipped bit: %v", err)
	}
	if _, marked := parseMark(content(t, m, block)); !marked {
		t.Error("a card that is not whole has no mark")
	}
	m = newMemory(8 << 30)
	m.fails = 2 << 30
	if _, err := write(t.Context(), m, Disk{Path: "/dev/sdx", Size: m.size}, src, options); !errors.Is(err, errIO) || !strings.Contains(err.Error(), "it is broken, or lies about its size") {
		t.Errorf("a card that fails: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := options
	o.Report = func(p Progress) {
		if p.Step == Writing && p.Done == 0 {
			cancel()
		}
	}
	m := newMemory(8 << 30)
	if _, err := write(ctx, m, Disk{Path: "card", Size: m.size}, noise(6<<20, 8), o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, marked := parseMark(content(t, m, block)); !marked {
		t.Error("no mark")
	}
}

// A file stands for a card.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "card")
	if err := os.WriteFile(path, noise(1<<20, 9), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<20); err != nil {
		t.Fatal(err)
	}
	d, err := Host{}.Inspect(path)
	if err != nil || d.Device || d.Size != 64<<20 {
		t.Fatalf("%+v, %v", d, err)
	}
	src := noise(9<<20, 10)
	if _, err := Write(t.Context(), d, src, options); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got[:len(src)], src) || len(got) != 64<<20 {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
}

func TestMark(t *testing.T) {
	m := Mark{Node: "worker-1", Image: "abc", Began: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	b := m.block()
	if len(b) != block || b[510] == 0x55 {
		t.Errorf("%d bytes", len(b))
	}
	if got, ok := parseMark(b); !ok || got != m {
		t.Errorf("%+v, %t", got, ok)
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add(Mark{Node: "worker-1", Image: "abc", Began: time.Unix(0, 0)}.block())
	f.Add(make([]byte, block))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := parseMark(b); ok && strings.Contains(m.Node+m.Image, "\n") {
			t.Errorf("%+v", m)
		}
	})
}

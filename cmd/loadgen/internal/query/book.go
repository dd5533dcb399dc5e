// SPDX-License-Identifier: Apache-2.0

package query

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Question is a name to ask for, and the type. A name whose first label is "*" stands for names that nobody has asked for
// yet: each query has a random label in its place ("\*" asks for the wildcard itself).
type Question struct {
	Name string
	Type uint16
}

// Book is what is asked. It is safe for concurrent use.
type Book struct {
	questions []question
	draw      func(seq uint64) int
	seed      uint64
}

// question is a packed query; its ID is patched in, and its random label where it has one.
type question struct {
	wire  []byte
	asks  int  // length of the question section behind the header: what a reply must repeat
	fresh bool // the first label is random
}

// freshLabel is the length of a random label: 60 bits in base 32.
const freshLabel = 12

// NewBook packs a query for each question. Recursion asks the server to find out what it does not know. Which question the
// seq-th query asks is decided by pick (see ParsePick) and the seed.
func NewBook(questions []Question, recursion bool, pick Pick, seed uint64) (*Book, error) {
	b := &Book{seed: seed}
	var errs []error
	for _, q := range questions {
		packed, err := pack(q, recursion)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		b.questions = append(b.questions, packed)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	b.draw = pick.over(len(questions), seed)
	return b, nil
}

func pack(q Question, recursion bool) (question, error) {
	if _, ok := dns.IsDomainName(q.Name); !ok || q.Name == "" {
		return question{}, fmt.Errorf("%q is no domain name", q.Name)
	}
	name, fresh := dns.Fqdn(q.Name), false
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		name, fresh = strings.Repeat("x", freshLabel)+"."+rest, true
	} else {
		name = strings.TrimPrefix(name, `\`)
	}
	m := new(dns.Msg).SetQuestion(name, q.Type)
	m.RecursionDesired = recursion
	bare, err := m.Pack()
	if err != nil {
		return question{}, fmt.Errorf("packing query for %q: %w", q.Name, err)
	}
	wire, err := m.SetEdns0(udpSize, false).Pack()
	if err != nil {
		return question{}, fmt.Errorf("packing query for %q: %w", q.Name, err)
	}
	return question{wire, len(bare) - headerLen, fresh}, nil
}

// Len returns how many questions there are.
func (b *Book) Len() int { return len(b.questions) }

// Draw returns which question the seq-th query asks.
func (b *Book) Draw(seq uint64) int { return b.draw(seq) }

// write appends the seq-th query, for the n-th question, and returns it with what a reply must repeat of it.
func (b *Book) write(to []byte, n int, seq uint64, id uint16) (wire, asks []byte) {
	q := &b.questions[n]
	at := len(to)
	to = append(to, q.wire...)
	wire = to[at:]
	binary.BigEndian.PutUint16(wire, id)
	if q.fresh {
		const digits = "abcdefghijklmnopqrstuvwxyz234567"
		label := wire[headerLen+1:][:freshLabel]
		bits := mix(b.seed^0x66726573, seq)
		for i := range freshLabel {
			label[i] = digits[bits>>(5*i)&31]
		}
	}
	return wire, wire[headerLen:][:q.asks]
}

// mix is splitmix64: the seq-th of a seed's random numbers.
func mix(seed, seq uint64) uint64 {
	z := seed + (seq+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Pick is a distribution over questions.
type Pick struct {
	kind     string
	exponent float64
}

// InOrder asks the questions one after the other, so that each is asked at even intervals.
var InOrder = Pick{kind: "order"}

// ParsePick reads "uniform", "order", or "zipf:S": the k-th question is drawn in proportion to k to the power of -S.
func ParsePick(s string) (Pick, error) {
	kind, exponent, has := strings.Cut(s, ":")
	switch {
	case kind == "uniform" && !has, kind == "order" && !has:
		return Pick{kind: kind}, nil
	case kind == "zipf" && has:
		e, err := strconv.ParseFloat(exponent, 64)
		if err != nil || !(e >= 0 && e <= 10) {
			return Pick{}, fmt.Errorf("exponent %q is no number from 0 to 10 (hint: zipf:1)", exponent)
		}
		return Pick{kind, e}, nil
	}
	return Pick{}, fmt.Errorf("unknown distribution %q (hint: uniform, order, zipf:1)", s)
}

func (p Pick) String() string {
	if p.kind == "zipf" {
		return fmt.Sprintf("zipf:%g", p.exponent)
	}
	return p.kind
}

func (p Pick) over(n int, seed uint64) func(uint64) int {
	switch p.kind {
	case "order":
		return func(seq uint64) int { return int(seq % uint64(n)) }
	case "zipf":
		below := make([]float64, n) // the distribution function
		sum := 0.0
		for k := range below {
			sum += math.Pow(float64(k+1), -p.exponent)
			below[k] = sum
		}
		return func(seq uint64) int {
			at := float64(mix(seed, seq)>>11) / (1 << 53) * sum
			k, _ := slices.BinarySearch(below, at)
			return min(k, n-1)
		}
	}
	return func(seq uint64) int { return int(mix(seed, seq) % uint64(n)) }
}

// maxListFaults bounds how many wrong lines one error tells of.
const maxListFaults = 10

// ReadList reads questions from a file: a name a line, and its type behind it where it is not the default one. Empty lines
// and those that begin with # are skipped. (The data files of dnsperf are such lists.)
func ReadList(path string, byDefault uint16) ([]Question, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the list: %w", err)
	}
	defer f.Close()
	var out []Question
	var errs []error
	wrong := func(line int, format string, a ...any) {
		if len(errs) < maxListFaults {
			errs = append(errs, fmt.Errorf("%s:%d:1: %s", path, line, fmt.Sprintf(format, a...)))
		}
	}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		q := Question{Name: fields[0], Type: byDefault}
		if _, ok := dns.IsDomainName(q.Name); !ok {
			wrong(n, "%q is no domain name", q.Name)
		}
		if len(fields) > 1 {
			var known bool
			if q.Type, known = dns.StringToType[strings.ToUpper(fields[1])]; !known || len(fields) > 2 {
				wrong(n, "%q is no name and type (hint: www.example.test AAAA)", lines.Text())
			}
		}
		out = append(out, q)
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("reading the list %s: %w", path, err))
	}
	if len(out) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("the list %s has no name (hint: one a line)", path))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/miekg/dns"
)

// fudge is how far apart the clocks of two servers may be, in seconds: RFC 8945 §10.
const fudge = 300

// mostUnsigned is how many messages of a transfer may follow one another without a signature: RFC 8945 §5.3.1.
const mostUnsigned = 99

// signature is the TSIG record of a message.
type signature struct {
	at        int // where it begins: what it signs is before
	key       string
	algorithm string
	time      uint64 // seconds since 1970
	fudge     uint16
	mac       []byte
	id        uint16 // that the message had when it was signed
	code      uint16
	other     []byte
}

// readSignature returns the TSIG of a message, nil where it has none.
func readSignature(msg []byte) (*signature, error) {
	l, err := survey(msg)
	if err != nil || l.tsig == 0 {
		return nil, err
	}
	rr, end, err := dns.UnpackRR(msg, l.tsig)
	if err != nil || end != len(msg) {
		return nil, errMessage
	}
	t, ok := rr.(*dns.TSIG)
	if !ok || t.Hdr.Class != dns.ClassANY || t.Hdr.Ttl != 0 {
		return nil, errMessage
	}
	s := &signature{
		at: l.tsig, key: dns.CanonicalName(t.Hdr.Name), algorithm: dns.CanonicalName(t.Algorithm),
		time: t.TimeSigned, fudge: t.Fudge, id: t.OrigId, code: t.Error,
	}
	// The library has both in hexadecimal.
	var errMAC, errOther error
	s.mac, errMAC = hex.DecodeString(t.MAC)
	s.other, errOther = hex.DecodeString(t.OtherData)
	if errMAC != nil || errOther != nil {
		return nil, errMessage
	}
	return s, nil
}

// signedError is a TSIG that does not hold. Code is of RFC 8945 §3.
type signedError struct{ code uint16 }

func (e signedError) Error() string { return "TSIG: " + codeName(e.code) }

func codeName(code uint16) string {
	if code == dns.RcodeBadSig { // the library calls 16 BADVERS, as in EDNS, or BADSIG
		return "BADSIG"
	}
	if name, ok := dns.RcodeToString[int(code)]; ok {
		return name
	}
	return fmt.Sprintf("error %d", code)
}

// session signs the messages of one conversation, or checks them. Each signature is over the one before too.
type session struct {
	key     *Key
	prior   []byte // the MAC before, of the request at first; nil before the request
	stream  bool   // a message has been signed: those that follow are signed with less
	pending hash.Hash
	loose   int // messages taken into pending that had no signature
}

func newSession(k *Key) *session { return &session{key: k} }

// alike is a session that stands where this one does.
func (s *session) alike() *session {
	if s == nil {
		return nil
	}
	other := *s
	return &other
}

// begin returns a hash that holds what comes before a message.
func (s *session) begin() hash.Hash {
	h := hmac.New(hashOf(s.key.Algorithm), s.key.secret)
	if s.prior != nil {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s.prior))))
		h.Write(s.prior)
	}
	return h
}

// variables are what of a TSIG record is signed: RFC 8945 §4.3.3, and §5.3.1 for all but the first of a stream.
func (s *session) variables(sig *signature) []byte {
	var b []byte
	if !s.stream {
		b = append(b, wireName(sig.key)...)
		b = append(b, 0, dns.ClassANY, 0, 0, 0, 0)
		b = append(b, wireName(sig.algorithm)...)
	}
	b = append48(b, sig.time)
	b = binary.BigEndian.AppendUint16(b, sig.fudge)
	if !s.stream {
		b = binary.BigEndian.AppendUint16(b, sig.code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(sig.other)))
		b = append(b, sig.other...)
	}
	return b
}

// size is how many octets sign adds to a message at most.
func (s *session) size() int {
	return len(wireName(s.key.Name)) + 10 + len(wireName(s.key.Algorithm)) + 16 + hashOf(s.key.Algorithm)().Size() + 6
}

// sign appends a TSIG to a message that has none.
func (s *session) sign(msg []byte, now time.Time) []byte {
	return s.signWith(msg, &signature{time: uint64(now.Unix()), fudge: fudge})
}

// signWith is sign with time, fudge, code and other data given.
func (s *session) signWith(msg []byte, sig *signature) []byte {
	sig.key, sig.algorithm, sig.id = s.key.Name, s.key.Algorithm, idOf(msg)
	h := s.begin()
	h.Write(msg)
	h.Write(s.variables(sig))
	sig.mac = h.Sum(nil)
	s.prior, s.stream = sig.mac, s.prior != nil
	return sig.append(msg)
}

// append adds the record to a message, in wire form.
func (sig *signature) append(msg []byte) []byte {
	msg = append(msg, wireName(sig.key)...)
	msg = append(msg, 0, byte(dns.TypeTSIG), 0, dns.ClassANY, 0, 0, 0, 0)
	algorithm := wireName(sig.algorithm)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(algorithm)+16+len(sig.mac)+len(sig.other)))
	msg = append(msg, algorithm...)
	msg = append48(msg, sig.time)
	msg = binary.BigEndian.AppendUint16(msg, sig.fudge)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(sig.mac)))
	msg = append(msg, sig.mac...)
	msg = binary.BigEndian.AppendUint16(msg, sig.id)
	msg = binary.BigEndian.AppendUint16(msg, sig.code)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(sig.other)))
	msg = append(msg, sig.other...)
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	return msg
}

// stripped returns the message as it was before it was signed. It shares no memory with msg.
func (sig *signature) stripped(msg []byte) []byte {
	b := append([]byte(nil), msg[:sig.at]...)
	binary.BigEndian.PutUint16(b, sig.id)
	binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])-1)
	return b
}

// check tells whether a signature holds at a time. The error is signedError, or errMessage for a MAC of
// impossible size. The order of the checks is that of RFC 8945 §5.2.
func (s *session) check(msg []byte, sig *signature, now time.Time) error {
	if sig.key != s.key.Name || sig.algorithm != s.key.Algorithm {
		return signedError{dns.RcodeBadKey}
	}
	h := s.pending
	if h == nil {
		h = s.begin()
	}
	full := h.Size()
	if len(sig.mac) > full || len(sig.mac) < max(10, full/2) { // §5.2.2.1
		return errMessage
	}
	h.Write(sig.stripped(msg))
	h.Write(s.variables(sig))
	mac := h.Sum(nil)
	if !hmac.Equal(mac[:len(sig.mac)], sig.mac) {
		return signedError{dns.RcodeBadSig}
	}
	s.prior, s.stream = sig.mac, s.prior != nil
	s.pending, s.loose = nil, 0
	if apart := now.Unix() - int64(sig.time); apart > int64(sig.fudge) || -apart > int64(sig.fudge) {
		return signedError{dns.RcodeBadTime}
	}
	if len(sig.mac) < full { // §5.2.4: nobody has a reason to send less
		return signedError{dns.RcodeBadTrunc}
	}
	return nil
}

// verify takes the next message of a reply, signed or, in a long one, not, and returns it without its
// signature. finish must be asked in the end.
func (s *session) verify(msg []byte, now time.Time) ([]byte, error) {
	sig, err := readSignature(msg)
	if err != nil {
		return nil, err
	}
	if sig == nil {
		if !s.stream || s.loose == mostUnsigned {
			return nil, errors.New("TSIG: a message that must be signed is not")
		}
		if s.pending == nil {
			s.pending = s.begin()
		}
		s.loose++
		s.pending.Write(msg)
		return msg, nil
	}
	if sig.code == dns.RcodeBadKey || sig.code == dns.RcodeBadSig { // such replies are not signed
		return nil, fmt.Errorf("the other server says TSIG: %s", codeName(sig.code))
	}
	if err := s.check(msg, sig, now); err != nil {
		return nil, err
	}
	if sig.code != 0 {
		return nil, saidError(sig)
	}
	return sig.stripped(msg), nil
}

// finish tells whether all that verify has taken was signed in the end.
func (s *session) finish() error {
	if s.loose > 0 {
		return errors.New("TSIG: the last message is not signed")
	}
	return nil
}

func append48(b []byte, v uint64) []byte {
	return append(b, byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

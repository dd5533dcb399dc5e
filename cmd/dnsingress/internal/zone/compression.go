// SPDX-License-Identifier: Apache-2.0

package zone

// maxPointer is the highest offset that a compression pointer can hold, RFC 1035 §4.1.4.
const maxPointer = 0x3FFF

// compression remembers where names and their suffixes stand in a message. It is bounded: what does not fit
// is written in full, which is only longer.
type compression struct {
	n      int
	hashes [64]uint32
	places [64]uint16
	// starts and sums are the labels of the name that is being written and the hashes of its suffixes.
	starts [maxLabels + 1]uint8
	sums   [maxLabels + 1]uint32
}

func (c *compression) reset() { c.n = 0 }

func (c *compression) learn(hash uint32, place int) {
	if c.n < len(c.hashes) && place <= maxPointer {
		c.hashes[c.n], c.places[c.n] = hash, uint16(place)
		c.n++
	}
}

// scan finds the labels of a name in wire form and hashes its suffixes; it returns the number of labels.
func (c *compression) scan(wire string) int {
	labels := 0
	for at := 0; wire[at] != 0; at += int(wire[at]) + 1 {
		c.starts[labels] = uint8(at)
		labels++
	}
	sum := uint32(2166136261) // FNV-1a over the labels from the right
	for i := labels - 1; i >= 0; i-- {
		at := int(c.starts[i])
		for _, b := range []byte(wire[at : at+1+int(wire[at])]) {
			sum = (sum ^ uint32(lower(b))) * 16777619
		}
		c.sums[i] = sum
	}
	return labels
}

// name appends a name in wire form, with a pointer in place of its longest suffix that the message has already.
func (r *Reply) name(wire string) bool {
	c := &r.seen
	if c.n == 0 { // the question's own name comes first
		own := r.buf[question:r.size]
		labels := c.scan(view(own[:endOfName(own)]))
		for i := range labels {
			c.learn(c.sums[i], question+int(c.starts[i]))
		}
	}
	labels := c.scan(wire)
	for i := range labels {
		suffix := wire[c.starts[i]:]
		for k := range c.n {
			if c.hashes[k] != c.sums[i] || !r.matches(int(c.places[k]), suffix) {
				continue
			}
			prefix := wire[:c.starts[i]]
			if r.size+len(prefix)+2 > len(r.buf) {
				return false
			}
			r.learn(i)
			return r.bytes(prefix) && r.pointer(int(c.places[k]))
		}
	}
	if r.size+len(wire) > len(r.buf) {
		return false
	}
	r.learn(labels)
	return r.bytes(wire)
}

// learn remembers the first labels suffixes of the scanned name, which is about to be written.
func (r *Reply) learn(labels int) {
	for i := range labels {
		r.seen.learn(r.seen.sums[i], r.size+int(r.seen.starts[i]))
	}
}

// matches tells whether the name at an offset of the message is the one in wire form, in whatever case.
func (r *Reply) matches(at int, wire string) bool {
	for i := 0; ; {
		length := int(r.buf[at])
		if length >= 0xC0 { // written by us, so it points backwards and there is no loop
			at = (length&0x3F)<<8 | int(r.buf[at+1])
			continue
		}
		if length != int(wire[i]) {
			return false
		}
		if length == 0 {
			return true
		}
		for k := 1; k <= length; k++ {
			if lower(r.buf[at+k]) != lower(wire[i+k]) {
				return false
			}
		}
		at += length + 1
		i += length + 1
	}
}

// endOfName returns the offset behind the uncompressed name at the start of b.
func endOfName(b []byte) int {
	at := 0
	for b[at] != 0 {
		at += int(b[at]) + 1
	}
	return at + 1
}

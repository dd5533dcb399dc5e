// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Forever is the lifetime that a TTL model gives to answers that are never asked for again.
const Forever time.Duration = 1<<63 - 1

// TTL is how long a client keeps a positive answer, given the TTL it came with.
// The zero value honours TTLs exactly. Negative answers always live as RFC 2308 §5 says.
type TTL struct {
	Min     time.Duration // shorter TTLs, also 0, are stretched to this
	Max     time.Duration // longer TTLs are cut to this; 0 is no limit
	Forever bool          // the first answer is kept for good
}

// ParseTTL reads a TTL model: "honour", "forever", "min:30s", "max:5s" or "min:1s,max:1m".
func ParseTTL(s string) (TTL, error) {
	switch s {
	case "honour":
		return TTL{}, nil
	case "forever":
		return TTL{Forever: true}, nil
	}
	var t TTL
	seen := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(part, ":")
		if key != "min" && key != "max" || seen[key] {
			return TTL{}, fmt.Errorf("unknown TTL model %q (hint: honour, forever, min:30s, max:5s or min:1s,max:1m)", s)
		}
		seen[key] = true
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return TTL{}, fmt.Errorf("TTL model %q: %q is no positive duration (hint: %s:30s)", s, value, key)
		}
		if key == "min" {
			t.Min = d
		} else {
			t.Max = d
		}
	}
	if t.Max > 0 && t.Min > t.Max {
		return TTL{}, errors.New("TTL model " + s + ": min is above max")
	}
	return t, nil
}

// String returns the model in the form that ParseTTL reads.
func (t TTL) String() string {
	switch {
	case t.Forever:
		return "forever"
	case t.Min > 0 && t.Max > 0:
		return fmt.Sprintf("min:%s,max:%s", t.Min, t.Max)
	case t.Min > 0:
		return "min:" + t.Min.String()
	case t.Max > 0:
		return "max:" + t.Max.String()
	}
	return "honour"
}

// Lifetime returns how long a positive answer with the given TTL is kept; 0 is not at all.
func (t TTL) Lifetime(ttl time.Duration) time.Duration {
	if t.Forever {
		return Forever
	}
	ttl = max(ttl, t.Min)
	if t.Max > 0 {
		ttl = min(ttl, t.Max)
	}
	return ttl
}

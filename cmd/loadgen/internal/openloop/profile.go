// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Profile is a rate that changes with time, in sends a second.
type Profile interface {
	Rate(at time.Duration) float64
	// Expected returns how many sends are due in [0, until): the integral of the rate.
	Expected(until time.Duration) float64
	Peak() float64
	String() string
}

// maxRate bounds every rate of a profile, in sends a second.
const maxRate = 1e6

const profiles = `hint: steps:100@10s,400@5s,100  ramp:100..1000@30s  sine:500~200@1m  spike:100..2000@10s+3s`

// ParseProfile reads a profile. Rates are sends a second; before an "@" stand rates, behind it durations:
//
//	steps:R@D,R@D,…,R     each rate for its time, the last one to the end
//	ramp:FROM..TO@D       linearly from one rate to the other in D, which then stays
//	sine:MEAN~AMPLITUDE@D once around the mean in D
//	spike:BASE..PEAK@AT+D the base, and from AT on for D the peak
func ParseProfile(s string) (Profile, error) {
	kind, rest, _ := strings.Cut(s, ":")
	var p Profile
	var err error
	switch kind {
	case "steps":
		p, err = parseSteps(rest)
	case "ramp":
		p, err = parseRamp(rest)
	case "sine":
		p, err = parseSine(rest)
	case "spike":
		p, err = parseSpike(rest)
	default:
		err = fmt.Errorf("unknown kind %q", kind)
	}
	if err == nil && p.Peak() <= 0 {
		err = errors.New("nothing would ever be sent")
	}
	if err != nil {
		return nil, fmt.Errorf("profile %q: %w (%s)", s, err, profiles)
	}
	return p, nil
}

// segments is a rate that changes linearly within each of its parts; the last one's end rate stays.
type segments struct {
	text  string
	parts []segment
}

type segment struct {
	begin    time.Duration
	length   time.Duration
	from, to float64 // rates
}

// until returns the integral of the rate over the first d of the part.
func (s segment) until(d time.Duration) float64 {
	if s.length == 0 || d <= 0 {
		return 0
	}
	d = min(d, s.length)
	share := float64(d) / float64(s.length)
	return d.Seconds() * (s.from + (s.to-s.from)*share/2)
}

func (p segments) Rate(at time.Duration) float64 {
	last := p.parts[len(p.parts)-1].to
	for _, s := range p.parts {
		if at < s.begin+s.length {
			return s.from + (s.to-s.from)*float64(max(0, at-s.begin))/float64(s.length)
		}
	}
	return last
}

func (p segments) Expected(until time.Duration) float64 {
	sum := 0.0
	for _, s := range p.parts {
		sum += s.until(until - s.begin)
	}
	last := p.parts[len(p.parts)-1]
	return sum + max(0, until-last.begin-last.length).Seconds()*last.to
}

func (p segments) Peak() float64 {
	peak := 0.0
	for _, s := range p.parts {
		peak = max(peak, s.to)
		if s.length > 0 {
			peak = max(peak, s.from)
		}
	}
	return peak
}

func (p segments) String() string { return p.text }

// then appends a part behind the others.
func (p *segments) then(length time.Duration, from, to float64) {
	begin := time.Duration(0)
	if n := len(p.parts); n > 0 {
		begin = p.parts[n-1].begin + p.parts[n-1].length
	}
	p.parts = append(p.parts, segment{begin, length, from, to})
}

func parseSteps(s string) (Profile, error) {
	p := segments{text: "steps:" + s}
	steps := strings.Split(s, ",")
	for i, step := range steps {
		text, length, timed := strings.Cut(step, "@")
		rate, err := parseRate(text)
		if err != nil {
			return nil, err
		}
		d := time.Duration(0)
		switch {
		case timed:
			d, err = parseSpan(length)
		case i < len(steps)-1:
			err = fmt.Errorf("step %q needs its time, as in %s@10s: only the last lasts to the end", step, step)
		}
		if err != nil {
			return nil, err
		}
		p.then(d, rate, rate)
	}
	return p, nil
}

func parseRamp(s string) (Profile, error) {
	text, length, _ := strings.Cut(s, "@")
	from, to, err := parsePair(text, "..")
	if err != nil {
		return nil, err
	}
	d, err := parseSpan(length)
	if err != nil {
		return nil, err
	}
	p := segments{text: "ramp:" + s}
	p.then(d, from, to)
	return p, nil
}

func parseSpike(s string) (Profile, error) {
	text, times, _ := strings.Cut(s, "@")
	base, peak, err := parsePair(text, "..")
	if err != nil {
		return nil, err
	}
	begin, length, _ := strings.Cut(times, "+")
	at, err := parseSpan(begin)
	if err != nil {
		return nil, err
	}
	d, err := parseSpan(length)
	if err != nil {
		return nil, err
	}
	p := segments{text: "spike:" + s}
	p.then(at, base, base)
	p.then(d, peak, peak)
	p.then(0, base, base)
	return p, nil
}

// sine is a rate that swings around its mean, upwards first.
type sine struct {
	mean, amplitude float64
	period          time.Duration
}

func parseSine(s string) (Profile, error) {
	text, period, _ := strings.Cut(s, "@")
	mean, amplitude, err := parsePair(text, "~")
	if err != nil {
		return nil, err
	}
	if amplitude > mean {
		return nil, fmt.Errorf("the amplitude %g exceeds the mean %g, so that the rate would be negative", amplitude, mean)
	}
	d, err := parseSpan(period)
	return sine{mean, amplitude, d}, err
}

func (p sine) angle(at time.Duration) float64 { return 2 * math.Pi * float64(at) / float64(p.period) }

func (p sine) Rate(at time.Duration) float64 { return p.mean + p.amplitude*math.Sin(p.angle(at)) }

func (p sine) Expected(until time.Duration) float64 {
	swing := p.amplitude * p.period.Seconds() / (2 * math.Pi) * (1 - math.Cos(p.angle(until)))
	return p.mean*until.Seconds() + swing
}

func (p sine) Peak() float64 { return p.mean + p.amplitude }

func (p sine) String() string { return fmt.Sprintf("sine:%g~%g@%v", p.mean, p.amplitude, p.period) }

func parsePair(s, between string) (a, b float64, err error) {
	first, second, ok := strings.Cut(s, between)
	if !ok {
		return 0, 0, fmt.Errorf("%q is no pair of rates with %q between them", s, between)
	}
	if a, err = parseRate(first); err != nil {
		return 0, 0, err
	}
	b, err = parseRate(second)
	return a, b, err
}

func parseRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil || !(rate >= 0 && rate <= maxRate) {
		return 0, fmt.Errorf("%q is no rate between 0 and %g", s, maxRate)
	}
	return rate, nil
}

func parseSpan(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no time (such as 10s)", s)
	}
	return d, nil
}

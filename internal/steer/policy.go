// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"errors"
	"fmt"
	"time"
)

// NoData is what becomes of a ready member for which a live signal has no value.
type NoData string

// The choices for members without a value.
const (
	NoDataKeep NoData = "keep" // in: a new pod has no samples yet
	NoDataDrop NoData = "drop" // out
)

// Policy says when a ready member is kept. The zero Policy keeps all.
type Policy struct {
	Keep    Bound         // what a member that is in must satisfy to stay
	Readmit Bound         // what a member that is out must satisfy to return; zero: Keep
	NoData  NoData        // empty: NoDataKeep
	Min     int           // ready members that are always left; below 1 means 1
	Hold    time.Duration // shortest time between two changes of a member's verdict; 0: none
	MaxStep float64       // share of the ready members (0 to 1) that one signal may newly put out, at least one member; 0: no limit
}

// Check returns every contradiction in p, joined.
func (p Policy) Check() error {
	var errs []error
	if !p.Readmit.IsZero() && p.Keep.IsZero() {
		errs = append(errs, errors.New("readmit is set and keep is not (hint: readmit is the way back after keep put a member out)"))
	}
	if !p.Readmit.IsZero() && !p.Keep.IsZero() {
		keep, keepFixed := p.Keep.fixed()
		back, backFixed := p.Readmit.fixed()
		switch {
		case p.Keep.upper() != p.Readmit.upper():
			errs = append(errs, fmt.Errorf("keep %q and readmit %q bound the value from opposite sides (hint: both with < or both with >)", p.Keep, p.Readmit))
		case keepFixed && backFixed && (p.Keep.upper() && back > keep || !p.Keep.upper() && back < keep):
			errs = append(errs, fmt.Errorf("readmit %q is looser than keep %q, so that a member would come back only to leave (hint: make readmit the stricter one)", p.Readmit, p.Keep))
		}
	}
	switch p.NoData {
	case "", NoDataKeep, NoDataDrop:
	default:
		errs = append(errs, fmt.Errorf("no-data %q is unknown (hint: keep or drop)", p.NoData))
	}
	if p.Min < 0 {
		errs = append(errs, fmt.Errorf("minimum of members %d is negative", p.Min))
	}
	if p.Hold < 0 {
		errs = append(errs, fmt.Errorf("hold %v is negative", p.Hold))
	}
	if p.MaxStep < 0 || p.MaxStep > 1 {
		errs = append(errs, fmt.Errorf("largest step %g is not a share (hint: 0.25 or 25%%)", p.MaxStep))
	}
	return errors.Join(errs...)
}

// bound returns the bound that a member must satisfy now.
func (p Policy) bound(out bool) Bound {
	if out && !p.Readmit.IsZero() {
		return p.Readmit
	}
	return p.Keep
}

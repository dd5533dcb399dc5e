// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Point is a value that was measured at X, such as a latency at a rate.
type Point struct{ X, Y float64 }

// Knee is where a response bends: two straight lines that meet.
type Knee struct {
	X, Y        float64 // where they meet
	Left, Right float64 // their slopes
	SSE         float64 // squared deviations from the two lines
	LineSSE     float64 // and from one
	// Clear says that two lines are worth their two further parameters by Schwarz's criterion (BIC).
	Clear bool
}

// At returns the height of the lines at x.
func (k Knee) At(x float64) float64 {
	if x < k.X {
		return k.Y + k.Left*(x-k.X)
	}
	return k.Y + k.Right*(x-k.X)
}

// FindKnee fits two lines that meet to points by least squares: Hudson, "Fitting segmented curves whose join points have
// to be estimated", JASA 61 (1966). The knee lies between the second least and the second largest X: beyond, one point
// would be a line. Where Y spans orders of magnitude give its logarithm.
// It returns ErrFew for fewer than four different X.
func FindKnee(points []Point) (Knee, error) {
	pts := slices.Clone(points)
	slices.SortFunc(pts, func(a, b Point) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(a.Y, b.Y)) })
	var xs []float64
	for _, p := range pts {
		if len(xs) == 0 || p.X != xs[len(xs)-1] {
			xs = append(xs, p.X)
		}
	}
	if len(xs) < 4 {
		return Knee{}, fmt.Errorf("%w: %d different places of the 4 that a knee needs", ErrFew, len(xs))
	}
	best := Knee{SSE: math.Inf(1)}
	take := func(k Knee) {
		if k.SSE < best.SSE {
			best = k
		}
	}
	for i := 1; i < len(xs)-1; i++ {
		take(hinge(pts, xs[i]))
		if i == len(xs)-2 {
			break
		}
		// Two free lines that happen to meet between their points are the best of all that meet there.
		cut, _ := slices.BinarySearchFunc(pts, xs[i+1], func(p Point, x float64) int { return cmp.Compare(p.X, x) })
		left, right := fitLine(pts[:cut]), fitLine(pts[cut:])
		if x := (right.at0 - left.at0) / (left.slope - right.slope); x > xs[i] && x < xs[i+1] {
			take(Knee{X: x, Y: left.at0 + left.slope*x, Left: left.slope, Right: right.slope, SSE: left.sse + right.sse})
		}
	}
	best.LineSSE = fitLine(pts).sse
	n := float64(len(pts))
	const tiny = 1e-300 // a perfect fit has no logarithm
	best.Clear = n > 4 && n*math.Log(max(best.SSE, tiny))+4*math.Log(n) < n*math.Log(max(best.LineSSE, tiny))+2*math.Log(n)
	return best, nil
}

type line struct{ at0, slope, sse float64 }

// fitLine is the least squares line of points with at least two different X.
func fitLine(pts []Point) line {
	n := float64(len(pts))
	mx, my := 0.0, 0.0
	for _, p := range pts {
		mx += p.X / n
		my += p.Y / n
	}
	sxx, sxy := 0.0, 0.0
	for _, p := range pts {
		sxx += (p.X - mx) * (p.X - mx)
		sxy += (p.X - mx) * (p.Y - my)
	}
	l := line{slope: sxy / sxx}
	l.at0 = my - l.slope*mx
	for _, p := range pts {
		d := p.Y - my - l.slope*(p.X-mx)
		l.sse += d * d
	}
	return l
}

// hinge is the least squares fit of two lines that meet at x.
func hinge(pts []Point, x float64) Knee {
	scale := 0.0
	for _, p := range pts {
		scale = max(scale, math.Abs(p.X-x))
	}
	a, y := mat.NewDense(len(pts), 3, nil), mat.NewVecDense(len(pts), nil)
	for i, p := range pts {
		d := (p.X - x) / scale
		a.SetRow(i, []float64{1, min(d, 0), max(d, 0)})
		y.SetVec(i, p.Y)
	}
	var qr mat.QR
	qr.Factorize(a)
	var fit mat.VecDense
	if err := qr.SolveVecTo(&fit, false, y); err != nil {
		return Knee{SSE: math.Inf(1)}
	}
	k := Knee{X: x, Y: fit.AtVec(0), Left: fit.AtVec(1) / scale, Right: fit.AtVec(2) / scale}
	for _, p := range pts {
		d := p.Y - k.At(p.X)
		k.SSE += d * d
	}
	return k
}

// KneeInterval returns the bootstrap percentile interval of the knee's X: the trials at each X are resampled.
// It returns ErrFew when some X has fewer than MinTrials trials, or when there are fewer than four.
func KneeInterval(points []Point, level float64, resamples int, seed uint64) (Interval, error) {
	if _, err := FindKnee(points); err != nil {
		return Interval{}, err
	}
	byX := map[float64][]Point{}
	var xs []float64
	for _, p := range points {
		if byX[p.X] == nil {
			xs = append(xs, p.X)
		}
		byX[p.X] = append(byX[p.X], p)
	}
	slices.Sort(xs)
	for _, x := range xs {
		if n := len(byX[x]); n < MinTrials {
			return Interval{}, fmt.Errorf("%w: %d at %g of the %d that an interval needs", ErrFew, n, x, MinTrials)
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0x94d049bb133111eb))
	boot := make([]float64, 0, resamples)
	draw := make([]Point, 0, len(points))
	for range resamples {
		draw = draw[:0]
		for _, x := range xs {
			for range byX[x] {
				draw = append(draw, byX[x][rng.IntN(len(byX[x]))])
			}
		}
		k, err := FindKnee(draw)
		if err != nil {
			return Interval{}, err
		}
		boot = append(boot, k.X)
	}
	slices.Sort(boot)
	return Interval{Low: quantileSorted(boot, (1-level)/2), High: quantileSorted(boot, (1+level)/2), Level: level}, nil
}

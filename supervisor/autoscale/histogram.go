package autoscale

import (
	"math"
	"time"
)

// Histogram keeps a distribution of positive numbers in which what is past fades: after a half-life an observation counts half.
// Quantiles are right to about a tenth. Its size is fixed, so that it never grows with what it has seen.
type Histogram struct {
	half    time.Duration
	last    time.Time
	weight  float64
	sum     float64
	buckets [histogramBuckets]float32
}

// Four buckets for each doubling, from 2^-10 (a millisecond, if the numbers are seconds) to 2^50 (a pebibyte, if they are bytes).
const (
	histogramLowest  = -10
	histogramOctaves = 60
	perOctave        = 4
	histogramBuckets = histogramOctaves * perOctave
)

// NewHistogram makes an empty one. A half-life of 0 never fades.
func NewHistogram(half time.Duration) *Histogram { return &Histogram{half: half} }

// Observe adds one number. What is not a positive number counts as the lowest.
func (h *Histogram) Observe(now time.Time, v float64) {
	h.fade(now)
	if !(v > 0) || math.IsInf(v, 1) {
		v = math.Exp2(histogramLowest)
	}
	h.weight++
	h.sum += v
	i := int(math.Floor((math.Log2(v) - histogramLowest) * perOctave))
	h.buckets[min(max(i, 0), histogramBuckets-1)]++
}

// Weight is the number of observations, the faded ones in part.
func (h *Histogram) Weight() float64 { return h.weight }

// Mean is the mean, 0 if nothing was observed.
func (h *Histogram) Mean() float64 {
	if h.weight <= 0 {
		return 0
	}
	return h.sum / h.weight
}

// Quantile is the number that a part q of the observations does not exceed (the upper edge of its bucket), 0 if nothing was
// observed.
func (h *Histogram) Quantile(q float64) float64 {
	var total float64
	for _, n := range h.buckets {
		total += float64(n)
	}
	if total <= 0 {
		return 0
	}
	var below float64
	for i, n := range h.buckets {
		below += float64(n)
		if n > 0 && below >= q*total*(1-1e-6) {
			return math.Exp2(float64(i+1)/perOctave + histogramLowest)
		}
	}
	return math.Exp2(histogramLowest + histogramOctaves)
}

// fade lets time pass, in steps of at least a sixteenth of the half-life so that it costs little. A clock that goes back fades
// nothing. The last observations keep a hundredth of their weight, so that a nightly task is known on the next night.
func (h *Histogram) fade(now time.Time) {
	if h.last.IsZero() {
		h.last = now
		return
	}
	passed := now.Sub(h.last)
	if passed < 0 || h.half <= 0 {
		h.last = now
		return
	}
	if passed < h.half/16 {
		return
	}
	h.last = now
	factor := float32(max(math.Exp2(-float64(passed)/float64(h.half)), 0.01))
	for i := range h.buckets {
		h.buckets[i] *= factor
	}
	h.weight *= float64(factor)
	h.sum *= float64(factor)
}

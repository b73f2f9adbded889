package autoscale

import "time"

// Pressure says what memory forbids, from nothing to most.
type Pressure int

// The steps of the ladder. Each includes those before it.
const (
	Calm     Pressure = iota
	NoStarts          // start no executor
	ShedIdle          // and let the largest idle child go, one for each decision
	NoClaims          // and take no more messages
)

func (p Pressure) String() string {
	return [...]string{"calm", "no starts", "shed idle", "no claims"}[p]
}

// rungs are the shares of the limit in use, and the percentages of stalled time, from which a step holds.
var rungs = [...]struct {
	used       float64
	some, full float64
}{
	NoStarts: {used: 0.92, some: 20, full: 5},
	ShedIdle: {used: 0.95, some: 40, full: 10},
	NoClaims: {used: 0.98, some: 80, full: 40},
}

// pressureOf is the step that the numbers ask for.
func pressureOf(m Memory) Pressure {
	step := Calm
	for p := NoStarts; p <= NoClaims; p++ {
		r := rungs[p]
		if m.Limit > 0 && float64(m.Used) >= r.used*float64(m.Limit) || m.Some >= r.some || m.Full >= r.full {
			step = p
		}
	}
	return step
}

// press climbs the ladder at once, and down one step when it was calmer for a sixth of the window.
func (s *State) press(m Memory, step, window time.Duration) {
	asked := pressureOf(m)
	s.calm += step
	switch {
	case asked >= s.pressure:
		s.pressure, s.calm = asked, 0
	case s.calm >= window/6:
		s.pressure, s.calm = s.pressure-1, 0
	}
}

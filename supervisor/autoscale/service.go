package autoscale

import "time"

// Services keeps how long tasks take, by task name. Names are bounded: the one that was seen least lately makes room, so that a
// client that makes up names costs nothing.
type Services struct {
	half  time.Duration
	names *lately[*Histogram]
	all   *Histogram
}

// How much is kept.
const (
	serviceNames    = 256
	serviceHalfLife = 10 * time.Minute
)

// NewServices makes an empty record.
func NewServices() *Services {
	return &Services{half: serviceHalfLife, names: newLately[*Histogram](serviceNames), all: NewHistogram(serviceHalfLife)}
}

// Observe adds the run time of one task.
func (s *Services) Observe(now time.Time, name string, took time.Duration) {
	h := s.names.get(name, func() *Histogram { return NewHistogram(s.half) })
	h.Observe(now, took.Seconds())
	s.all.Observe(now, took.Seconds())
}

// Mean is the mean run time of the name, or of all tasks if the name is not known; 0 if nothing is known at all.
func (s *Services) Mean(name string) time.Duration {
	if h, ok := s.names.peek(name); ok {
		return seconds(h.Mean())
	}
	return seconds(s.all.Mean())
}

// Quantile is what a part q of the name's tasks does not exceed; 0 if the name is not known.
func (s *Services) Quantile(name string, q float64) time.Duration {
	if h, ok := s.names.peek(name); ok {
		return seconds(h.Quantile(q))
	}
	return 0
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// Mix keeps which task names a queue carries, so that the run time of what waits can be reckoned before it is claimed.
type Mix struct {
	names *lately[*float64]
}

const (
	mixNames = 32
	mixFade  = 0.98 // a name that was not claimed for a hundred messages counts an eighth
)

// NewMix makes an empty one; there is one for each queue.
func NewMix() *Mix { return &Mix{names: newLately[*float64](mixNames)} }

// Claimed adds a message that was taken from the queue.
func (m *Mix) Claimed(name string) {
	for _, e := range m.names.entries {
		*e.value *= mixFade
	}
	*m.names.get(name, func() *float64 { return new(float64) })++
}

// Service is the expected run time of a message in this queue; 0 if nothing is known.
func (m *Mix) Service(s *Services) time.Duration {
	var weight, sum float64
	for name, e := range m.names.entries {
		if mean := s.Mean(name); mean > 0 {
			weight += *e.value
			sum += *e.value * mean.Seconds()
		}
	}
	if weight <= 0 {
		return seconds(s.all.Mean())
	}
	return seconds(sum / weight)
}

// lately is a bounded map that forgets the key which was used least lately.
type lately[V any] struct {
	limit   int
	clock   uint64
	entries map[string]*entry[V]
}

type entry[V any] struct {
	used  uint64
	value V
}

func newLately[V any](limit int) *lately[V] {
	return &lately[V]{limit: limit, entries: make(map[string]*entry[V])}
}

func (l *lately[V]) peek(key string) (V, bool) {
	if e, ok := l.entries[key]; ok {
		return e.value, true
	}
	var none V
	return none, false
}

func (l *lately[V]) get(key string, create func() V) V {
	l.clock++
	e, ok := l.entries[key]
	if !ok {
		if len(l.entries) >= l.limit {
			l.forget()
		}
		e = &entry[V]{value: create()}
		l.entries[key] = e
	}
	e.used = l.clock
	return e.value
}

func (l *lately[V]) forget() {
	oldest, found := "", false
	for key, e := range l.entries {
		if !found || e.used < l.entries[oldest].used {
			oldest, found = key, true
		}
	}
	delete(l.entries, oldest)
}

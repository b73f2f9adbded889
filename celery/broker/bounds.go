package broker

import "time"

// Bounds are the options that may change while the broker runs. Zero values mean the defaults.
type Bounds struct {
	MaxDeliveries  int
	MaxDeadLetters int
	DeadLetterAge  time.Duration
}

// SetBounds counts for the next message that is given back or buried. It may be called by anyone at any time.
func (b *Broker) SetBounds(bounds Bounds) {
	o := Options{MaxDeliveries: bounds.MaxDeliveries, MaxDeadLetters: bounds.MaxDeadLetters, DeadLetterAge: bounds.DeadLetterAge}
	o.defaults()
	b.bounds.Store(&Bounds{o.MaxDeliveries, o.MaxDeadLetters, o.DeadLetterAge})
}

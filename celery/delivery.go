package celery

import "time"

// Delivery is a message that this process holds: it lies in a claim key in Redis that only we may settle.
// Whoever holds a Delivery must end it, on every path: acknowledged, put back, parked or buried.
type Delivery struct {
	Queue   string    // name of the queue, without prefix and priority step
	Key     string    // Redis list that it was taken from, and goes back to
	Claim   string    // Redis key where it lies now
	Raw     []byte    // the message as it lay in the queue, never changed
	Claimed time.Time // when we got it
}

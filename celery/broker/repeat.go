package broker

import (
	"context"
	"time"
)

// repeat is the shape of the loops beside the engine: step when somebody pokes, and again after the time that it returned; after an
// error again and again, ever more seldom. The engine pokes each loop when it is connected.
func (b *Broker) repeat(life context.Context, wake <-chan struct{}, what string, step func(context.Context) (next time.Duration, err error)) {
	var retry backoff
	var state condition
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-life.Done():
			return
		case <-timer.C:
		case <-wake:
		}
		next, err := step(life)
		if err == nil {
			retry.reset()
			state.clear()
		} else {
			next = retry.next()
			b.tell(&state, what, err, next)
		}
		timer.Reset(next)
	}
}

// tell logs why a loop does not get on. What keeps the engine from working, too, it has said itself; but a user may be allowed to claim,
// say, and not to wake.
func (b *Broker) tell(state *condition, what string, err error, next time.Duration) {
	c, changed := state.set(err)
	engine := b.tally.queues.get()
	log := b.log.Debug
	if changed && answered(err) && (engine == nil || engine.Name != c.Name) {
		log = b.log.Warn
	}
	log(what, "reason", c.Name, "error", err, "hint", c.Hint, "next", "retry in "+next.String())
}

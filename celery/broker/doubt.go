package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// doubt is a claim key that a command of a cut connection may have filled, or may still fill. Its ticket is not used, and
// the key is read now and then, until nothing of that connection can be alive.
type doubt struct {
	ticket *ticket
	key    *queueKey
	check  time.Time
	pause  time.Duration
	until  time.Time
	looked bool
	heir   bool // what may lie there is inherited
}

const (
	firstDoubtPause = 250 * time.Millisecond
	lastDoubtPause  = 15 * time.Second
)

func newDoubt(t *ticket, k *queueKey, now time.Time, lasts time.Duration) *doubt {
	return &doubt{ticket: t, key: k, check: now, pause: firstDoubtPause, until: now.Add(lasts)}
}

// again sets the time of the next look.
func (d *doubt) again(now time.Time) {
	d.check = now.Add(d.pause)
	d.pause = min(2*d.pause, lastDoubtPause)
}

// look adds a read of each doubtful key whose time has come.
func (e *engine) look(now time.Time) {
	for _, d := range e.doubts {
		if now.Before(d.check) && !e.closing {
			continue
		}
		cmd := redis.NewStringCmd(context.Background(), "LINDEX", d.ticket.name(e.ring, e.incarnation, d.key), 0)
		e.looks = append(e.looks, add(e.batch, purposeClaim, cmd))
		e.checks = append(e.checks, d)
	}
}

// looked takes in the reply of such a read.
func (e *engine) looked(d *doubt, cmd *redis.StringCmd, now time.Time) error {
	raw, err := cmd.Bytes()
	switch {
	case err == nil:
		e.undoubt(d)
		e.log.Info("message found in the claim key of a cut connection", "queue", d.key.queue, "next", "deliver")
		c := e.newClaim(d.ticket, d.key, raw, now)
		c.heir = d.heir
		e.adopt(c)
	case !answered(err):
		return nil // looked at again when there is a connection
	case !errors.Is(err, redis.Nil):
		return err
	case now.After(d.until):
		e.undoubt(d)
		e.tickets.put(d.ticket)
	default:
		d.looked = true
		d.again(now)
	}
	return nil
}

func (e *engine) undoubt(d *doubt) {
	e.doubts = slices.DeleteFunc(e.doubts, func(o *doubt) bool { return o == d })
}

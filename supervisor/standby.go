package supervisor

import (
	"context"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/supervisor/autoscale"
	"github.com/agensium/agensium/supervisor/config"
)

// What the scaler does besides telling the pool how many slots there should be.

// hold lets the broker hold a message for a slot that is to come, if one may come: so nobody has to look whether something waits while
// there is no slot, or none is free and each message is to have one.
func (c *scaler) hold(p autoscale.Policy, s autoscale.Sample, d autoscale.Decision) {
	on := mayHold(p, s, d)
	if on == c.spare {
		return
	}
	c.spare = on
	if on {
		c.claims.Spare(c.nudge)
	} else {
		c.claims.Spare(nil)
	}
}

func mayHold(p autoscale.Policy, s autoscale.Sample, d autoscale.Decision) bool {
	slots, kept := s.Slots, 0
	for _, q := range s.Queues {
		kept += q.Kept
	}
	switch {
	case slots.Owed > 0 && d.Target > slots.Idle+slots.Busy && d.Pressure < autoscale.NoClaims:
		return true // its slot starts
	case p.Min >= p.Max, d.Pressure > autoscale.Calm, d.Bound == autoscale.BoundCPU, d.Bound == autoscale.BoundThroughput:
		return false
	case kept > 0 && slots.Busy == 0 && slots.Idle <= kept: // nothing runs, and every slot waits for a queue of its own
	case d.Target > 0 && p.SLO > 0:
		return false // a message may wait, and somebody looks how long
	}
	return max(slots.Idle+slots.Busy+slots.Starting, d.Target) < d.Capacity
}

// shared is how the slots are divided between the queues.
type shared struct {
	most int
	of   map[string]config.QueueScaling
}

// share tells the broker, which knows what each queue has and claims for it.
func (c *scaler) share(most int) {
	now := shared{most, c.settings().Config.Scaling.Queues}
	if len(now.of) == 0 && len(c.shared.of) == 0 || now.most == c.shared.most && maps.Equal(now.of, c.shared.of) {
		return
	}
	c.shared = now
	of := make(map[string]broker.Share, len(now.of))
	for name, q := range now.of {
		of[name] = broker.Share{Min: q.Min, Weight: q.Weight}
	}
	c.claims.SetShares(most, of)
}

// relieve lets go of what it can when memory is short: the largest idle child with each decision, and then no message is taken.
func (c *scaler) relieve(p autoscale.Pressure) {
	if p >= autoscale.ShedIdle {
		if id, ok := c.largestIdle(); ok && c.pool.Shed(id) {
			c.log.Warn("memory is short", "slot", id, "memory", fmt.Sprintf("%dMiB", c.private[id]>>20), "next", "its child leaves")
		}
	}
	if pause := p >= autoscale.NoClaims; pause != c.paused {
		c.paused = pause
		if !pause { // said first: the next line may be of a message
			c.log.Info("memory is less short", "next", "take messages again")
		}
		c.claims.Pause(pause)
		if pause {
			c.log.Warn("memory is short", "next", "take no message until there is more")
		}
	}
}

// largestIdle is the idle slot whose child has the most memory. The last slot stays.
func (c *scaler) largestIdle() (id int, ok bool) {
	status := c.pool.Status()
	most := int64(-1)
	for _, slot := range status.Slots {
		if slot.State == pool.Idle && c.private[slot.ID] > most {
			id, most = slot.ID, c.private[slot.ID]
		}
	}
	return id, most >= 0 && len(status.Slots) > 1
}

// sleep unloads the application when there has been no slot for as long as the settings say, and returns how long until then.
func (c *scaler) sleep(ctx context.Context, slots autoscale.Slots, d autoscale.Decision, now time.Time) time.Duration {
	const never = math.MaxInt64
	after := c.settings().Config.Python.SleepAfter
	if d.Target > 0 || slots != (autoscale.Slots{}) {
		c.empty, c.slept = time.Time{}, nil
		return never
	}
	if c.empty.IsZero() {
		c.empty = now
	}
	left, app := after-now.Sub(c.empty), c.app()
	switch {
	case after <= 0 || app == nil || app == c.slept:
		return never
	case left > 0:
		return left
	}
	c.slept = app
	c.sleepers.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, closeTimeout)
		defer cancel()
		app.Sleep(ctx)
	})
	return never
}

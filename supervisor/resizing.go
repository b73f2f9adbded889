package supervisor

import (
	"context"
	"time"

	"github.com/agensium/agensium/celery/control"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/supervisor/autoscale"
)

// autoscaled tells whether the user asked for --autoscale: then Celery's commands change its bounds, else the number of slots.
func (n *settings) autoscaled() bool { return n.Origins["pool.concurrency"].Name == "--autoscale" }

// concurrency is how many slots there may be now, with what remote control asked for.
func (s *Supervisor) concurrency() int {
	p := s.scaler.policy()
	most := max(p.Max, p.Temporary.Floor)
	if p.Temporary.Ceiling > 0 {
		most = min(most, p.Temporary.Ceiling)
	}
	return most
}

type nodePool struct{ *Supervisor }

func (n nodePool) Grow(by int) error { return n.resize(by, autoscale.Grow) }

// Shrink ends idle slots, at once, as Celery does.
func (n nodePool) Shrink(by int) error {
	status := n.pool.Status()
	idle := status.Count(pool.Idle) + status.Count(pool.Starting)
	if err := n.resize(min(by, idle), autoscale.Shrink); err != nil {
		return err
	}
	if by > idle {
		return control.ErrAllBusy
	}
	return nil
}

func (n nodePool) resize(by int, bound func(size, n int) autoscale.Temporary) error {
	if n.current.Load().autoscaled() {
		return control.ErrAutoscaled
	}
	if by == 0 {
		return nil
	}
	t := n.scaler.rebound(by, bound)
	n.log.Info("number of slots changed", "reason", "remote control", "least", t.Floor, "most", t.Ceiling)
	return nil
}

// restartLimit is how long an application may take that is imported anew.
const restartLimit = 10 * time.Minute

// Restart returns while the application is being imported: Flower waits for a second.
func (n nodePool) Restart(context.Context) error {
	restarts, _ := n.current.Load().info.Conf["worker_pool_restarts"].(bool)
	if !restarts || n.renew == nil {
		return control.ErrNoRestart
	}
	n.log.Info("importing the application anew", "reason", "remote control")
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), restartLimit)
		defer cancel()
		if err := n.renew(ctx); err != nil {
			n.log.Error("import the application anew", "error", err, "next", "go on with the old one")
		}
	}()
	return nil
}

type nodeAutoscaler struct{ *Supervisor }

func (n nodeAutoscaler) Autoscale(most, least *int) (newMost, newLeast int, err error) {
	if !n.current.Load().autoscaled() {
		return 0, 0, control.ErrNoAutoscale
	}
	newMost, newLeast, err = n.scaler.between(most, least)
	if err == nil {
		n.log.Info("bounds of scaling changed", "reason", "remote control", "least", newLeast, "most", newMost)
	}
	return newMost, newLeast, err
}

// rebound asks for by slots more or fewer than were asked for last, or than there are.
func (c *scaler) rebound(by int, bound func(size, n int) autoscale.Temporary) autoscale.Temporary {
	c.mu.Lock()
	size := c.last.Target
	if c.temporary.Floor > 0 {
		size = c.temporary.Floor
	} else if c.temporary.Ceiling > 0 {
		size = min(size, c.temporary.Ceiling)
	}
	c.mu.Unlock()
	t := bound(size, by)
	c.bound(t)
	return t
}

// between changes the bounds of --autoscale until the node ends, and returns those that hold. A minimum above the maximum
// raises it, as a maximum below the minimum lowers that.
func (c *scaler) between(most, least *int) (int, int, error) {
	p := c.policy()
	if most != nil {
		p.Max = *most
		p.Min = min(p.Min, p.Max)
	}
	if least != nil {
		p.Min = *least
		p.Max = max(p.Max, p.Min)
	}
	if p.Min < 0 || p.Max < 1 || p.Max > maxSlots {
		return 0, 0, control.Refused("ValueError('the bounds have to be between 0 and 10000')")
	}
	c.mu.Lock()
	c.asked = &askedBounds{p.Max, p.Min}
	c.mu.Unlock()
	c.nudge()
	return p.Max, p.Min, nil
}

// maxSlots is the most that pool.concurrency may be.
const maxSlots = 10_000

// askedBounds are the bounds of scaling that remote control asked for.
type askedBounds struct{ most, least int }

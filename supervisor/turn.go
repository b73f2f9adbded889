package supervisor

import (
	"context"
	"slices"
	"time"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/supervisor/config"
)

// turnTo makes the running parts do what the settings say now. None of it can fail.
func (s *Supervisor) turnTo(ctx context.Context, before, now *config.Config) {
	s.setLogLevel(now.Log.Level)
	s.pool.SetLimits(poolLimits(now.Pool))
	s.broker.SetBounds(brokerBounds(now))
	s.limitMemory(now.Scaling)
	s.beatAnew()
	if app := s.application(); app != nil {
		app.Adjust(now.Python.StartTimeout, now.Pool.OOMScoreAdj)
	}
	if s.control != nil {
		s.control.Revoked.SetBounds(now.Control.RevokesMax, now.Control.RevokeExpire)
		s.control.Events.Configure(now.Events.Enabled, now.Events.Heartbeat)
	}
	s.consume(ctx, before.Consumed(), now.Consumed())
	s.scaler.nudge()
}

// consume begins with queues that are new in the settings, and leaves those that are not there any more. What remote control added
// or left stays as it is.
func (s *Supervisor) consume(ctx context.Context, before, now []string) {
	for _, queue := range now {
		if slices.Contains(before, queue) || slices.Contains(s.consumed.list(), queue) {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, closeTimeout)
		if err := s.broker.AddQueue(bounded, queue); err != nil {
			s.log.Warn("queue added", "queue", queue, "error", err, "next", "consume it when the broker is usable")
		}
		cancel()
		s.consumed.add(queue)
	}
	for _, queue := range before {
		if !slices.Contains(now, queue) {
			s.broker.RemoveQueue(queue)
			s.consumed.remove(queue)
		}
	}
}

// succeed has a new generation make the children from now on. The old one ends when its last child is gone.
func (s *Supervisor) succeed(next *generation) {
	old := s.generation.Swap(next)
	s.pool.Replace(next)
	next.ready()
	old.replace(next)
	s.beatAnew()
	s.scaler.nudge() // it may go to sleep
	begun := time.Now()
	s.retiring.Go(func() {
		select {
		case <-old.empty:
		case <-s.ending:
		}
		old.close(s.log)
		s.log.Info("old generation ended", "took", time.Since(begun).Round(time.Millisecond))
	})
}

func poolLimits(p config.Pool) pool.Limits {
	return pool.Limits{MaxTasks: p.MaxTasksPerChild, MaxMemory: int64(p.MaxMemoryPerChild), MaxAge: p.MaxAgePerChild}
}

func brokerBounds(c *config.Config) broker.Bounds {
	return broker.Bounds{MaxDeliveries: c.Tasks.MaxDeliveries, MaxDeadLetters: c.DeadLetters.Max, DeadLetterAge: c.DeadLetters.MaxAge}
}

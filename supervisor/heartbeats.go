package supervisor

import (
	"context"
	"time"
)

// heartbeats sends Celery's heartbeat_sent for an application that listens to it: many keep a file fresh by it that a
// platform looks at. It needs no event to be sent.
func (s *Supervisor) heartbeats(ctx context.Context) {
	var ticker *time.Ticker
	var beat <-chan time.Time
	stop := func() {
		if ticker != nil {
			ticker.Stop()
		}
		ticker, beat = nil, nil
	}
	defer stop()
	running := time.Duration(0)
	for {
		if every := s.heartbeatEvery(); every != running {
			stop()
			if running = every; every > 0 {
				ticker = time.NewTicker(every)
				beat = ticker.C
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.stopping.warm:
			return
		case <-s.rebeat:
		case <-beat:
			if app := s.application(); app != nil {
				app.Heartbeat()
			}
		}
	}
}

// heartbeatEvery is 0 if nobody listens.
func (s *Supervisor) heartbeatEvery() time.Duration {
	if app := s.application(); app == nil || !app.Info().Heartbeats {
		return 0
	}
	return s.current.Load().Config.Events.Heartbeat
}

// beatAnew has the heartbeats follow the settings and the application of now.
func (s *Supervisor) beatAnew() {
	select {
	case s.rebeat <- struct{}{}:
	default:
	}
}

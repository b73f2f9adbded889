package supervisor

import (
	"context"
	"time"
)

// heartbeats sends Celery's heartbeat_sent for an application that listens to it: many keep a file fresh by it that a
// platform looks at. It needs no event to be sent.
func (s *Supervisor) heartbeats(ctx context.Context) {
	every := s.current.Load().Config.Events.Heartbeat
	if s.application() == nil || !s.application().Info().Heartbeats || every <= 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.stopping.warm:
			return
		case <-ticker.C:
			s.application().Heartbeat()
		}
	}
}

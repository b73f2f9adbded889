package supervisor

import (
	"context"
	"errors"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor/check"
)

// checkFitness says what is wrong with the broker before the first task is taken. What may pass is a warning, what will not is an error.
func (s *Supervisor) checkFitness(ctx context.Context, broker *redisconn.Target) error {
	if s.embedded != nil {
		return nil
	}
	var unfit error
	for _, r := range check.Fit(ctx, broker, s.current.Load().Effective) {
		if r.Mark != check.Failed {
			s.log.Warn("broker", "step", r.Name, "found", r.Text, "hint", r.Hint)
			continue
		}
		unfit = &SetupError{Err: errors.New("broker " + broker.String() + " is not fit: " + r.Text), Hint: r.Hint + " `agensium check` shows more."}
	}
	return unfit
}

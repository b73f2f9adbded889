package supervisor

import (
	"context"
	"errors"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor/check"
)

// checkFitness says what is wrong with broker and result store before the first task is taken. What may pass is a warning, what will not is
// an error.
func (s *Supervisor) checkFitness(ctx context.Context, broker, results *redisconn.Target) error {
	if s.embedded != nil {
		return nil
	}
	err := s.fitness("broker", broker, check.Fit(ctx, broker, s.current.Load().Effective))
	if err == nil && results != nil && !results.Same(broker) {
		err = s.fitness("result store", results, check.FitForResults(ctx, results))
	}
	return err
}

func (s *Supervisor) fitness(what string, t *redisconn.Target, found check.Report) error {
	var unfit error
	for _, r := range found {
		if r.Mark != check.Failed {
			s.log.Warn(what, "step", r.Name, "found", r.Text, "hint", r.Hint)
			continue
		}
		unfit = &SetupError{Err: errors.New(what + " " + t.String() + " is not fit: " + r.Text), Hint: r.Hint + " `agensium check` shows more."}
	}
	return unfit
}

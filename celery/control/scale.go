package control

import (
	"context"
	"errors"
	"fmt"
)

func poolGrow(_ context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Pool == nil {
		return nil, missing("pool_grow")
	}
	return resize("pool_grow", "pool will grow", c.of.Pool.Grow, args)
}

func poolShrink(_ context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Pool == nil {
		return nil, missing("pool_shrink")
	}
	return resize("pool_shrink", "pool will shrink", c.of.Pool.Shrink, args)
}

// maxResize bounds what one command may ask for.
const maxResize = 10_000

func resize(method, answer string, by func(int) error, args Arguments) (any, error) {
	n := 1
	if err := arg(args, "n", &n); err != nil {
		return nil, err
	}
	if n < 0 || n > maxResize {
		return nil, exception{"ValueError", fmt.Sprintf("%s by %d: not between 0 and %d", method, n, maxResize)}
	}
	if err := by(n); errors.Is(err, ErrAutoscaled) {
		return nil, Refused(method + " is " + string(ErrAutoscaled))
	} else if err != nil {
		return nil, err
	}
	return done(answer), nil
}

// poolRestart ignores which modules are to be reloaded: a new generation imports everything anew.
func poolRestart(ctx context.Context, c *commands, _ Arguments) (any, error) {
	if c.of.Pool == nil {
		return nil, missing("pool_restart")
	}
	if err := c.of.Pool.Restart(ctx); err != nil {
		return nil, err
	}
	return done("reload started"), nil
}

func autoscale(_ context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Autoscaler == nil {
		return nil, ErrNoAutoscale
	}
	var most, least *int
	if err := arg(args, "max", &most); err != nil {
		return nil, err
	}
	if err := arg(args, "min", &least); err != nil {
		return nil, err
	}
	newMost, newLeast, err := c.of.Autoscaler.Autoscale(most, least)
	if err != nil {
		return nil, err
	}
	return done(fmt.Sprintf("autoscale now max=%d min=%d", newMost, newLeast)), nil
}

// shutdown is not answered, as Celery does not: it would be gone.
func shutdown(_ context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Lifecycle == nil {
		return nil, missing("shutdown")
	}
	reason := "Got shutdown from remote"
	if err := arg(args, "msg", &reason); err != nil {
		return nil, err
	}
	c.of.Lifecycle.Shutdown(reason)
	return nil, errNoReply
}

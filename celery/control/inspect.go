package control

import "context"

// table holds the commands by name; Celery's older names stand for the same ones (celery/worker/control.py Panel).
var table = map[string]*command{
	"ping":  {open: true, run: ping},
	"clock": {open: true, run: clock},
}

func ping(context.Context, *commands, Arguments) (any, error) { return done("pong"), nil }

func clock(_ context.Context, c *commands, _ Arguments) (any, error) {
	return map[string]int64{"clock": c.clock.Value()}, nil
}

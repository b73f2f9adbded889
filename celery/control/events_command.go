package control

import "context"

func enableEvents(_ context.Context, c *commands, _ Arguments) (any, error) {
	if !c.events.enable() {
		return done("task events already enabled"), nil
	}
	c.log.Info("events enabled", "reason", "remote command")
	return done("task events enabled"), nil
}

func disableEvents(_ context.Context, c *commands, _ Arguments) (any, error) {
	if !c.events.disable() {
		return done("task events already disabled"), nil
	}
	c.log.Info("events disabled", "reason", "remote command")
	return done("task events disabled"), nil
}

func heartbeat(_ context.Context, c *commands, _ Arguments) (any, error) {
	c.events.heartbeat()
	return nil, nil
}

package config

import "time"

// Cost is what something periodic takes of Redis while the node is idle.
type Cost struct {
	What     string
	Key      string // the setting that decides
	PerMonth int    // commands in 30 days
}

// IdleCosts are the commands that an idle node without peers sends in a month, by cause. A task costs four more.
func (c *Config) IdleCosts() []Cost {
	const month = 30 * day
	every := func(what, key string, times int, d time.Duration) Cost {
		if d <= 0 {
			return Cost{what, key, 0}
		}
		return Cost{what, key, int((time.Duration(times)*month + d/2) / d)}
	}
	keys := min(len(c.Consumed())*len(c.Broker.PrioritySteps), c.Broker.MaxBlocked)
	if !c.Broker.Consume {
		keys = 0
	}
	costs := []Cost{
		every("wait for messages", "broker.block_timeout", keys, c.Broker.BlockTimeout),
		every("renew the lease", "lease.idle_renew", 1, c.Lease.IdleRenew),
		every("look for dead nodes", "lease.recover", 1, c.Lease.Recover),
		every("look for what stock Celery left", "lease.restore_from_celery", 1, c.Lease.RestoreFromCelery),
	}
	if c.Events.Enabled {
		costs = append(costs, every("heartbeat events", "events.heartbeat", 1, c.Events.Heartbeat))
	}
	return costs
}

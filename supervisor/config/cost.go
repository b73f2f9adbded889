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
	keys := len(c.Consumed()) * len(c.Broker.PrioritySteps)
	if !c.Broker.Consume {
		keys = 0
	}
	rest := max(0, keys-c.Broker.MaxBlocked)
	looks := 1
	if !c.Broker.Consume {
		looks = 0
	}
	costs := []Cost{
		every("wait for messages", "broker.block_timeout", keys-rest, c.Broker.BlockTimeout),
		every("renew the lease", "lease.idle_ttl", 3, c.Lease.IdleTTL),
		every("look for what the dead left", "lease.look_every", 3, c.Lease.Look),
		every("look for progress", "broker.stall_timeout", looks, max(5*time.Minute, c.Broker.StallTimeout)),
	}
	if rest > 0 {
		costs = append(costs, every("look at further queues", "broker.rest_interval", rest, c.Broker.RestInterval))
	}
	if c.Events.Enabled {
		costs = append(costs, every("heartbeat events", "events.heartbeat", 1, c.Events.Heartbeat))
	}
	return costs
}

package config

import (
	"fmt"
	"strings"
	"time"
)

// Cost is what something periodic takes of Redis while the node is idle.
type Cost struct {
	What     string
	Key      string // the setting that decides
	PerMonth int    // commands in 30 days
}

// CommandsPerTask are claim, result, its announcement and acknowledgement.
const CommandsPerTask = 4

// Bill says what a number of commands costs where they are paid by use: Upstash's price.
func Bill(commands int) string {
	const dollarsPer100k = 0.20
	dollars := dollarsPer100k * float64(commands) / 100_000
	if dollars < 0.01 {
		return fmt.Sprintf("$%.3f", dollars)
	}
	return fmt.Sprintf("$%.2f", dollars)
}

// BillRate is the price that Bill counts with.
const BillRate = "$0.20 for 100,000"

// IdleMonth is the sum of the IdleCosts, and what it is made of.
func (c *Config) IdleMonth() (total int, parts string) {
	var words []string
	for _, cost := range c.IdleCosts() {
		total += cost.PerMonth
		words = append(words, Thousands(cost.PerMonth)+" "+cost.What)
	}
	return total, strings.Join(words, ", ")
}

// Thousands writes 35752 as 35,752.
func Thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// IdleCosts are the commands that an idle node without peers sends in a month, by cause.
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
	if c.Control.Enabled {
		costs = append(costs, every("keep the subscription alive", "control.keepalive", 1, c.Control.Keepalive))
	}
	if rest > 0 {
		costs = append(costs, every("look at further queues", "broker.rest_interval", rest, c.Broker.RestInterval))
	}
	if c.Events.Enabled {
		costs = append(costs, every("heartbeat events", "events.heartbeat", 1, c.Events.Heartbeat))
	}
	return costs
}

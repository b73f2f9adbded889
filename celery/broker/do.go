package broker

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Do runs a command on the connection that is not the engine's, once: for the rate limits that all nodes share.
func (b *Broker) Do(ctx context.Context, args ...any) *redis.Cmd {
	b.tally.commands.add(purposeLimit, 1)
	return b.aux.Do(ctx, args...)
}

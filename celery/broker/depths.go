package broker

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Depths counts what waits in each consumed queue, over all priority steps. It costs one command for each of them, so its callers
// ask only when the answer matters.
func (b *Broker) Depths(ctx context.Context) (map[string]int, error) {
	return b.countIn(ctx, b.aux.Pipeline())
}

// countIn does it at the end of a pipeline.
func (b *Broker) countIn(ctx context.Context, pipe redis.Pipeliner) (map[string]int, error) {
	keys, err := b.keys(ctx)
	if err != nil {
		return nil, err
	}
	lengths := make([]*redis.IntCmd, len(keys))
	for i, k := range keys {
		lengths[i] = pipe.LLen(ctx, k.list)
	}
	b.tally.commands.add(purposeSample, len(keys))
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("count waiting messages: %w", err)
	}
	depths := make(map[string]int)
	for i, k := range keys {
		depths[k.queue] += int(lengths[i].Val())
	}
	return depths, nil
}

type listOf struct{ queue, list string }

// keys asks the engine, which owns them, for the keys that are consumed now. ErrSilent: it did not answer in time.
func (b *Broker) keys(ctx context.Context) ([]listOf, error) {
	answer := make(chan []listOf, 1)
	asked := b.inbox.call(func() {
		keys := make([]listOf, 0, len(b.eng.ring.keys))
		for _, k := range b.eng.ring.keys {
			keys = append(keys, listOf{k.queue, k.list})
		}
		answer <- keys
	})
	if !asked {
		return nil, ErrClosed
	}
	select {
	case keys := <-answer:
		return keys, nil
	case <-b.ended:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: asked for its queues: %w", ErrSilent, context.Cause(ctx))
	}
}

package broker

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Depths counts what waits in each consumed queue, over all priority steps. It costs one command for each of them, so its callers
// ask only when the answer matters.
func (b *Broker) Depths(ctx context.Context) (map[string]int, error) {
	type asked struct {
		queue string
		reply *redis.IntCmd
	}
	var all []asked
	pipe := b.aux.Pipeline()
	for _, k := range b.keys() {
		all = append(all, asked{k.queue, pipe.LLen(ctx, k.list)})
	}
	b.tally.commands.add(purposeSample, len(all))
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("count waiting messages: %w", err)
	}
	depths := make(map[string]int)
	for _, a := range all {
		depths[a.queue] += int(a.reply.Val())
	}
	return depths, nil
}

// keys asks the engine for the keys that are consumed now; none once it has ended.
func (b *Broker) keys() []queueKey {
	answer := make(chan []queueKey, 1)
	ok := b.inbox.call(func() {
		keys := make([]queueKey, len(b.eng.ring.keys))
		for i, k := range b.eng.ring.keys {
			keys[i] = queueKey{queue: k.queue, list: k.list}
		}
		answer <- keys
	})
	if !ok {
		return nil
	}
	select {
	case keys := <-answer:
		return keys
	case <-b.ended:
		return nil
	}
}

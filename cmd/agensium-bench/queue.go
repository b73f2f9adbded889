package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	queue        = "celery"
	resultPrefix = "celery-task-meta-"
	pushBatch    = 1000
	existsBatch  = 500
	pollEvery    = 2 * time.Millisecond
)

// push sends n copies of a task, all at once: they are laid in a list beside the queue, which then takes the queue's name. The
// queue must be empty. It returns the ids, in the order in which they are taken, and the moment at which the worker could see them.
func (b *bench) push(ctx context.Context, task string, n int, args []any) (ids []string, at time.Time, err error) {
	const beside = "agensium-bench:preload"
	client := b.server.client
	batch := make([]any, 0, pushBatch)
	for len(ids) < n {
		batch = batch[:0]
		for len(batch) < cap(batch) && len(ids) < n {
			id, raw, err := b.messages[task].copy(args)
			if err != nil {
				return nil, at, err
			}
			ids, batch = append(ids, id), append(batch, raw)
		}
		if err := client.LPush(ctx, beside, batch...).Err(); err != nil {
			return nil, at, fmt.Errorf("preload the queue: %w", err)
		}
	}
	at = time.Now()
	renamed, err := client.RenameNX(ctx, beside, queue).Result()
	if err == nil && !renamed {
		err = fmt.Errorf("the queue is not empty")
	}
	if err != nil {
		return nil, at, fmt.Errorf("preload the queue: %w", err)
	}
	return ids, at, nil
}

// await returns when each of the tasks has a result. DBSIZE is asked first, as it costs Redis nothing.
func (b *bench) await(ctx context.Context, w *worker, ids []string) error {
	total := int64(len(ids))
	for enough := false; len(ids) > 0; {
		if !enough {
			size, err := b.server.client.DBSize(ctx).Result()
			if err != nil {
				return fmt.Errorf("count results: %w", err)
			}
			enough = size >= total
		}
		if enough {
			batch := ids[:min(len(ids), existsBatch)]
			keys := make([]string, len(batch))
			for i, id := range batch {
				keys[i] = resultPrefix + id
			}
			there, err := b.server.client.Exists(ctx, keys...).Result()
			if err != nil {
				return fmt.Errorf("look for results: %w", err)
			}
			if there == int64(len(batch)) {
				ids = ids[len(batch):]
				continue
			}
		}
		if err := w.alive(); err != nil {
			return err
		}
		if err := pause(ctx, pollEvery); err != nil {
			return fmt.Errorf("wait for %d results: %w", len(ids), err)
		}
	}
	return nil
}

// through pushes n copies of a task and waits for their results.
func (b *bench) through(ctx context.Context, w *worker, task string, n int, args []any) error {
	ids, _, err := b.push(ctx, task, n, args)
	if err != nil {
		return err
	}
	return b.await(ctx, w, ids)
}

// single is a task whose result we have subscribed to before it is sent.
type single struct{ id, raw string }

func (s single) channel() string { return resultPrefix + s.id }

// listen makes n tasks and subscribes to their results on a connection of its own.
func (b *bench) listen(ctx context.Context, task string, n int, args []any) ([]single, *redis.PubSub, error) {
	singles, channels := make([]single, n), make([]string, n)
	for i := range singles {
		id, raw, err := b.messages[task].copy(args)
		if err != nil {
			return nil, nil, err
		}
		singles[i] = single{id: id, raw: raw}
		channels[i] = singles[i].channel()
	}
	sub := b.server.client.Subscribe(ctx, channels...)
	for range channels {
		if _, err := sub.Receive(ctx); err != nil {
			_ = sub.Close()
			return nil, nil, fmt.Errorf("subscribe to results: %w", err)
		}
	}
	return singles, sub, nil
}

// send pushes the task.
func (b *bench) send(ctx context.Context, s single) error {
	if err := b.server.client.LPush(ctx, queue, s.raw).Err(); err != nil {
		return fmt.Errorf("send a task: %w", err)
	}
	return nil
}

// result waits until the result of the task is published.
func (b *bench) result(ctx context.Context, sub *redis.PubSub, s single) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("wait for a result: %w", err)
		}
		if m.Channel == s.channel() {
			return nil
		}
	}
}

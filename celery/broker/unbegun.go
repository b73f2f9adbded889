package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// StoreUnbegun stores and publishes those of the documents whose task nobody has begun, as far as the stored states tell: none,
// or one of a task that is to run yet (celery/worker/control.py _revoke of 5.7).
func (b *Broker) StoreUnbegun(ctx context.Context, results []celery.Result) error {
	if !b.started.Load() {
		return errNotRunning
	}
	if len(results) == 0 {
		return nil
	}
	client := b.storer.client
	keys := make([]string, len(results))
	for i, r := range results {
		keys[i] = r.Key
	}
	b.tally.commands.add(purposeResult, 1)
	stored, err := client.MGet(ctx, keys...).Result()
	if err != nil {
		return fmt.Errorf("read %d results: %w", len(keys), err)
	}
	sets := make([]*redis.StatusCmd, len(results))
	_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, r := range results {
			args := redis.SetArgs{TTL: b.opt.ResultExpires}
			if stored[i] == nil {
				args.Mode = "NX" // somebody may have begun it since
			} else if !waiting(stored[i]) {
				continue
			}
			b.tally.commands.add(purposeResult, 1)
			sets[i] = p.SetArgs(ctx, r.Key, r.Document, args)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("store results of tasks that nobody has begun: %w", err)
	}
	_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, set := range sets {
			if set != nil && set.Err() == nil {
				b.tally.commands.add(purposeResult, 1)
				p.Publish(ctx, results[i].Key, results[i].Document)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("publish results of tasks that nobody has begun: %w", err)
	}
	return nil
}

// waiting tells whether a stored document is of a task that is to run yet.
func waiting(stored any) bool {
	text, _ := stored.(string)
	var document struct {
		Status string `json:"status"`
	}
	if json.Unmarshal([]byte(text), &document) != nil {
		return false
	}
	switch document.Status {
	case "PENDING", "RECEIVED", "RETRY", "REJECTED":
		return true
	}
	return false
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// Parked is a message that waits in Redis for its time.
type Parked struct {
	Until   time.Time
	Queue   string
	Message []byte
}

// errNotRunning says that nobody has connected yet, or not any more.
var errNotRunning = errors.New("the broker is not running")

const (
	parkedPage = 200
	// maxHasten is how many parked tasks are looked at to find some before their time.
	maxHasten = 20_000
)

// Parked lists the messages that are due first, at most that many, of all nodes. It may be called by anyone.
func (b *Broker) Parked(ctx context.Context, most int) ([]Parked, error) {
	var all []Parked
	for at := 0; at < most; at += parkedPage {
		page, entries, err := b.parking.page(ctx, at, min(parkedPage, most-at))
		if err != nil {
			return nil, err
		}
		for i, z := range page {
			entry, ok := entries[i].(string)
			if !ok {
				continue
			}
			if message, _, queue, err := splitUnacked([]byte(entry)); err == nil {
				all = append(all, Parked{Until: time.UnixMicro(int64(z.Score * 1e6)), Queue: queue, Message: message})
			}
		}
		if len(page) < parkedPage {
			break
		}
	}
	return all, nil
}

// Hasten moves those of the parked tasks to their queues that match, before their time, and returns how many. Of very many
// parked tasks only the first are looked at; the others are met when they are due.
func (b *Broker) Hasten(ctx context.Context, match func(*celery.Task) bool) (int, error) {
	moved, at := 0, 0
	for at < maxHasten {
		page, entries, err := b.parking.page(ctx, at, parkedPage)
		if err != nil || len(page) == 0 {
			return moved, err
		}
		var chosen []redis.Z
		for i, z := range page {
			entry, ok := entries[i].(string)
			if !ok {
				continue
			}
			message, _, _, err := splitUnacked([]byte(entry))
			if err != nil {
				continue
			}
			if t, err := celery.Decode(message, time.UTC); err == nil && match(t) {
				chosen = append(chosen, z)
			}
		}
		if len(chosen) > 0 {
			if err := b.parking.wakeThese(ctx, chosen); err != nil {
				return moved, err
			}
		}
		moved += len(chosen)
		at += len(page) - len(chosen) // the others moved up
	}
	return moved, nil
}

// page reads some of the parked tasks, in the order in which they are due, with their entries in unacked: nil, or text.
func (p *parking) page(ctx context.Context, at, most int) ([]redis.Z, []any, error) {
	if !p.b.started.Load() {
		return nil, nil, errNotRunning
	}
	p.b.tally.commands.add(purposePark, 1)
	page, err := p.b.aux.ZRangeWithScores(ctx, p.ring.parked(), int64(at), int64(at+most-1)).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read the parked tasks: %w", err)
	}
	if len(page) == 0 {
		return nil, nil, nil
	}
	tags := make([]string, len(page))
	for i, z := range page {
		tags[i], _ = z.Member.(string)
	}
	p.b.tally.commands.add(purposePark, 1)
	entries, err := p.b.aux.HMGet(ctx, p.unacked(), tags...).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read %d parked tasks: %w", len(tags), err)
	}
	return page, entries, nil
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// presence is what the nodes tell each other while they work.
type presence struct {
	mu    sync.Mutex // held during a meeting
	known []string   // incarnations that the registry had, our own not among them
	told  string     // the incarnation under which we have told something
}

// Meet tells the other nodes what this one says of itself, which they see for ttl, and returns what those say that have said something, by
// incarnation. The first time it is announced on FleetChannel. Nothing to say: what was said is taken back, and nobody is asked.
func (b *Broker) Meet(ctx context.Context, says []byte, ttl time.Duration) (others map[string]string, err error) {
	id, _, _ := b.lease.snapshot()
	p := &b.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	ring := b.eng.ring
	if len(says) == 0 {
		if p.told != "" {
			b.tally.commands.add(purposeSample, 1)
			err = b.aux.Del(ctx, ring.presence(p.told)).Err()
			p.told = ""
		}
		return nil, err
	}
	if id == "" {
		return nil, errors.New("meet other nodes: not connected yet")
	}
	pipe := b.aux.Pipeline()
	pipe.Set(ctx, ring.presence(id), says, ttl)
	if p.told != id {
		pipe.Publish(ctx, ring.fleet(), id)
	}
	nodes := pipe.HKeys(ctx, ring.nodes())
	asked := slices.Clone(p.known)
	answers := b.ask(ctx, pipe, asked)
	b.tally.commands.add(purposeSample, pipe.Len())
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("meet other nodes: %w", err)
	}
	p.told = id
	p.known = slices.DeleteFunc(nodes.Val(), func(other string) bool { return other == id })
	others = said(asked, answers)
	if fresh := slices.DeleteFunc(slices.Clone(p.known), func(other string) bool { return slices.Contains(asked, other) }); len(fresh) > 0 {
		pipe := b.aux.Pipeline()
		answers := b.ask(ctx, pipe, fresh)
		b.tally.commands.add(purposeSample, 1)
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("meet other nodes: %w", err)
		}
		maps.Copy(others, said(fresh, answers))
	}
	return others, nil
}

func (b *Broker) ask(ctx context.Context, pipe redis.Pipeliner, ids []string) *redis.SliceCmd {
	if len(ids) == 0 {
		return nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = b.eng.ring.presence(id)
	}
	return pipe.MGet(ctx, keys...)
}

func said(ids []string, answers *redis.SliceCmd) map[string]string {
	all := map[string]string{}
	if answers == nil {
		return all
	}
	for i, v := range answers.Val() {
		if text, ok := v.(string); ok {
			all[ids[i]] = text
		}
	}
	return all
}

// FleetChannel is where nodes announce that they begin to work, by their incarnation. Who listens there meets them soon.
func (b *Broker) FleetChannel() string { return b.eng.ring.fleet() }

func (r *keyring) presence(incarnation string) string {
	return r.prefix + "agensium:presence:" + incarnation
}
func (r *keyring) fleet() string { return r.prefix + "agensium:fleet" }

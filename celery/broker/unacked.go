package broker

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// leftover restores what dead stock workers left in kombu's unacked: by kombu's timeout and under kombu's lock (kombu/transport/redis.py
// QoS.restore_visible, protocol notes B.7). Parked tasks lie there too and are not touched.
type leftover struct {
	b    *Broker
	ring *keyring
	wake chan struct{}

	token string // that the lock holds when it is ours
}

func newLeftover(b *Broker, ring *keyring) *leftover {
	return &leftover{b: b, ring: ring, wake: make(chan struct{}, 1), token: newID()}
}

func (u *leftover) poke() { poke(u.wake) }

func (u *leftover) run(life context.Context) {
	u.b.repeat(life, u.wake, "restore what stock workers left", func(life context.Context) (time.Duration, error) {
		return u.b.opt.LookEvery, u.look(life)
	})
}

const (
	restoreAtOnce = 1000
	mutexTTL      = 5 * time.Minute // kombu's
)

// look reads the index, which is one command as long as nothing is overdue.
func (u *leftover) look(life context.Context) error {
	if u.b.draining.Load() {
		return nil
	}
	index := u.b.parking.index()
	u.count(1)
	tags, err := u.b.aux.ZRangeArgs(life, redis.ZRangeArgs{
		Key: index, ByScore: true, Rev: true, Start: score(time.Now().Add(-u.b.opt.VisibilityTimeout)), Stop: "0", Count: restoreAtOnce,
	}).Result()
	if err != nil || len(tags) == 0 {
		return err
	}
	if tags, err = u.notParked(life, tags); err != nil || len(tags) == 0 {
		return err
	}
	if ours, err := u.lock(life); err != nil || !ours {
		return err
	}
	defer u.unlock(life)
	for _, tag := range tags { // newest first, so that the oldest comes to lie at the consuming end
		if err := u.restore(life, tag); err != nil {
			return err
		}
	}
	return nil
}

func (u *leftover) mutex() string { return u.b.opt.KeyPrefix + u.b.opt.UnackedMutexKey }

// lock takes kombu's lock. One that an earlier attempt of ours took, and then was cut, is still ours.
func (u *leftover) lock(life context.Context) (bool, error) {
	u.count(1)
	got, err := u.b.aux.SetNX(life, u.mutex(), u.token, mutexTTL).Result()
	if err != nil || got {
		return got, err
	}
	u.count(1)
	holder, err := u.b.aux.Get(life, u.mutex()).Result()
	if err == redis.Nil {
		err = nil
	}
	return holder == u.token, err
}

// unlock gives it back; if that is cut it ends by itself.
func (u *leftover) unlock(life context.Context) {
	u.count(1)
	_ = u.b.aux.Do(life, unlockScript.args([]string{u.mutex()}, u.token)...).Err()
}

// notParked leaves out what waits for its time. ZMSCORE gives 0 for what is not there, and nothing is parked for 1970.
func (u *leftover) notParked(life context.Context, tags []string) ([]string, error) {
	u.count(1)
	scores, err := u.b.aux.ZMScore(life, u.ring.parked(), tags...).Result()
	if err != nil {
		return nil, err
	}
	kept := tags[:0]
	for i, tag := range tags {
		if scores[i] == 0 {
			kept = append(kept, tag)
		}
	}
	return kept, nil
}

func (u *leftover) restore(life context.Context, tag string) error {
	unacked, index := u.b.parking.unacked(), u.b.parking.index()
	u.count(2)
	entry, err := u.b.aux.HGet(life, unacked, tag).Bytes()
	if err == redis.Nil { // acknowledged meanwhile
		return u.b.aux.ZRem(life, index, tag).Err()
	}
	if err != nil {
		return err
	}
	envelope, exchange, routingKey, err := splitUnacked(entry)
	if err != nil {
		u.b.log.Error("entry of unacked is not readable", "tag", tag, "error", err, "next", "leave it")
		return nil
	}
	queues, err := u.lookup(life, exchange, routingKey)
	if err != nil {
		return err
	}
	if len(queues) == 0 {
		u.b.log.Error("no queue is bound for a message in unacked", "tag", tag, "exchange", exchange, "routing_key", routingKey, "next", "leave it")
		return nil
	}
	keys := []string{unacked, index}
	for _, q := range queues {
		keys = append(keys, u.ring.listFor(q, priorityOf(envelope)))
	}
	AtRestoring.Pass()
	n, err := u.b.aux.Do(life, restoreScript.args(keys, tag, marked(envelope, false))...).Int()
	if err != nil {
		return fmt.Errorf("restore a message of unacked: %w", err)
	}
	u.b.tally.restored.Add(uint64(n))
	if n > 0 {
		u.b.log.Info("message of a stock worker restored", "tag", tag, "queue", strings.Join(queues, ","), "reason", "visibility_timeout")
	}
	return nil
}

// lookup finds the queues of a route: the routing key itself for the default exchange, else by kombu's binding table, whose
// members are routing key, pattern and queue (protocol notes B.1, B.9).
func (u *leftover) lookup(life context.Context, exchange, routingKey string) ([]string, error) {
	if exchange == "" {
		return []string{routingKey}, nil
	}
	u.count(1)
	members, err := u.b.aux.SMembers(life, u.b.opt.KeyPrefix+"_kombu.binding."+exchange).Result()
	if err != nil {
		return nil, err
	}
	var queues []string
	for _, m := range members {
		part := strings.Split(m, u.b.opt.Separator)
		if len(part) == 3 && (part[0] == routingKey || matches(part[1], routingKey)) {
			queues = append(queues, part[2])
		}
	}
	return queues, nil
}

func matches(pattern, routingKey string) bool {
	if pattern == "" {
		return false
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)`)
	return err == nil && re.MatchString(routingKey)
}

func (u *leftover) count(n int) { u.b.tally.commands.add(purposeUnacked, n) }

package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// parking keeps tasks with a future ETA in Redis and wakes them. Nothing is held in memory for each: one timer is set to
// the next due time.
type parking struct {
	b    *Broker
	ring *keyring
	wake chan struct{}

	mu   sync.Mutex
	next time.Time // for when the timer is set; zero while the loop looks, as what is parked then may be missed
}

func newParking(b *Broker, ring *keyring) *parking {
	return &parking{b: b, ring: ring, wake: make(chan struct{}, 1)}
}

func (p *parking) unacked() string { return p.b.opt.KeyPrefix + p.b.opt.UnackedKey }
func (p *parking) index() string   { return p.b.opt.KeyPrefix + p.b.opt.UnackedIndexKey }

// add appends the command that parks a claimed message until s.Until. The tag is ours: producers choose theirs, and two messages may have the
// same. Exchange and routing key are such that a stock worker restores it to the queue that it came from.
func (p *parking) add(batch *batch, claim string, d *celery.Delivery, s *Settlement) *redis.Cmd {
	queue, err := json.Marshal(d.Queue)
	if err != nil {
		panic(err) // a string
	}
	message := d.Raw
	if s.Message != nil {
		message = s.Message
	}
	entry := slices.Concat([]byte("["), message, []byte(`, "", `), queue, []byte("]"))
	keys := []string{claim, p.unacked(), p.index(), p.ring.parked()}
	return batch.do(purposePark, parkScript.args(keys, newID(), entry, score(s.Until))...)
}

// score is a time as kombu writes it: seconds with a fraction.
func score(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', 6, 64) }

// notice tells the loop that a task was parked.
func (p *parking) notice(until time.Time) {
	p.mu.Lock()
	sooner := p.next.IsZero() || until.Before(p.next)
	p.mu.Unlock()
	if sooner {
		p.poke()
	}
}

func (p *parking) poke() { poke(p.wake) }

func (p *parking) run(life context.Context) { p.b.repeat(life, p.wake, "wake parked tasks", p.look) }

func (p *parking) look(life context.Context) (time.Duration, error) {
	p.setNext(time.Time{})
	next, err := p.wakeDue(life)
	if err != nil {
		next = time.Now().Add(longestPause) // at the latest
	}
	p.setNext(next)
	return time.Until(next), err
}

func (p *parking) setNext(next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = next
}

const wakeAtOnce = 100

// wakeDue moves what is due to the queues and returns when to come again.
func (p *parking) wakeDue(life context.Context) (time.Time, error) {
	if id, _, _ := p.b.lease.snapshot(); id == "" || p.b.draining.Load() {
		return time.Now().Add(time.Hour), nil
	}
	for {
		p.b.tally.commands.add(purposePark, 1)
		head, err := p.b.aux.ZRangeWithScores(life, p.ring.parked(), 0, wakeAtOnce-1).Result()
		if err != nil {
			return time.Time{}, fmt.Errorf("read the parked tasks: %w", err)
		}
		now := time.Now()
		next := now.Add(p.b.opt.LookEvery) // others park too
		due := head
		for i, z := range head {
			if at := time.UnixMicro(int64(z.Score * 1e6)); at.After(now) {
				due = head[:i]
				if at.Before(next) {
					next = at
				}
				break
			}
		}
		if len(due) == 0 {
			return next, nil
		}
		if err := p.wakeThese(life, due); err != nil {
			return time.Time{}, err
		}
	}
}

// wakeThese moves messages to their queues, the one that is due first to be consumed first.
func (p *parking) wakeThese(life context.Context, due []redis.Z) error {
	tags := make([]string, len(due))
	for i, z := range due {
		tags[len(due)-1-i], _ = z.Member.(string)
	}
	p.b.tally.commands.add(purposePark, 2)
	entries, err := p.b.aux.HMGet(life, p.unacked(), tags...).Result()
	if err != nil {
		return fmt.Errorf("read %d parked tasks: %w", len(tags), err)
	}
	keys := []string{p.unacked(), p.index(), p.ring.parked()}
	var argv []any
	var gone []any // somebody took them, or they are not readable: kombu's restore deals with those
	for i, tag := range tags {
		entry, ok := entries[i].(string)
		if !ok {
			gone = append(gone, tag)
			continue
		}
		envelope, _, queue, err := splitUnacked([]byte(entry))
		if err != nil {
			p.b.log.Error("parked task is not readable", "tag", tag, "error", err, "next", "leave it in "+p.unacked())
			gone = append(gone, tag)
			continue
		}
		keys = append(keys, p.ring.listFor(queue, priorityOf(envelope)))
		argv = append(argv, tag, envelope)
	}
	if len(gone) > 0 {
		p.b.tally.commands.add(purposePark, 1)
		if err := p.b.aux.ZRem(life, p.ring.parked(), gone...).Err(); err != nil {
			return fmt.Errorf("forget parked tasks: %w", err)
		}
	}
	if len(argv) == 0 {
		return nil
	}
	AtWaking.Pass()
	n, err := p.b.aux.Do(life, wakeScript.args(keys, argv...)...).Int()
	if err != nil {
		return fmt.Errorf("wake %d parked tasks: %w", len(argv)/2, err)
	}
	AtWoken.Pass()
	p.b.tally.woken.Add(uint64(n))
	return nil
}

func priorityOf(envelope []byte) int {
	t, err := celery.Decode(envelope, nil)
	if err != nil {
		return 0
	}
	return t.Priority
}

// splitUnacked takes a field of kombu's unacked apart: [envelope, exchange, routing key] (protocol notes B.4). The envelope is found by
// its braces: it may hold what encoding/json refuses, and is not to be changed.
func splitUnacked(entry []byte) (envelope []byte, exchange, routingKey string, err error) {
	entry = bytes.TrimSpace(entry)
	if len(entry) == 0 || entry[0] != '[' {
		return nil, "", "", errors.New("not a JSON list")
	}
	rest := bytes.TrimLeft(entry[1:], " ")
	n := objectLength(rest)
	if n == 0 {
		return nil, "", "", errors.New("does not begin with an envelope")
	}
	envelope, rest = rest[:n], bytes.TrimLeft(rest[n:], " ")
	var route []string
	if !bytes.HasPrefix(rest, []byte(",")) {
		return nil, "", "", errors.New("has no exchange and routing key")
	}
	if err := json.Unmarshal(append([]byte("["), rest[1:]...), &route); err != nil || len(route) != 2 {
		return nil, "", "", errors.New("has no exchange and routing key")
	}
	return envelope, route[0], route[1], nil
}

// objectLength is the length of the JSON object that b begins with; 0 if there is none.
func objectLength(b []byte) int {
	if len(b) == 0 || b[0] != '{' {
		return 0
	}
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/redisconn"
)

// DeadLetter is a message that will not be delivered again, with all that is known about why.
type DeadLetter struct {
	ID         string    `json:"id"`
	TaskID     string    `json:"task_id,omitempty"`
	Task       string    `json:"task,omitempty"`
	Queue      string    `json:"queue"`
	Key        string    `json:"key"` // the list that it came from and goes back to
	Cause      string    `json:"cause"`
	Detail     string    `json:"detail,omitempty"`
	When       time.Time `json:"when"`
	Node       string    `json:"node"`
	Deliveries int       `json:"deliveries,omitempty"`
	Memory     int64     `json:"memory,omitempty"` // resident bytes at death
	Tail       []string  `json:"tail,omitempty"`   // last lines of output
	Message    []byte    `json:"message"`          // untouched; base64 in JSON, since it may be anything
}

// graves writes dead letters.
type graves struct {
	b    *Broker
	ring *keyring
}

func newGraves(b *Broker, ring *keyring) *graves { return &graves{b, ring} }

// add appends the command that buries a claimed message.
func (g *graves) add(batch *batch, claim string, d *celery.Delivery, dead *DeadLetter) *redis.Cmd {
	var l DeadLetter
	if dead != nil {
		l = *dead
	}
	now := time.Now()
	l.ID, l.When, l.Node = newID(), now.UTC(), g.b.opt.Node
	l.Queue, l.Key, l.Message = d.Queue, d.Key, d.Raw
	if t, err := celery.Decode(d.Raw, nil); err == nil {
		l.TaskID, l.Task, l.Deliveries = t.ID, t.Name, max(l.Deliveries, t.Deliveries)
	}
	doc, err := json.Marshal(&l)
	if err != nil {
		panic(err) // strings, numbers and bytes
	}
	keys := []string{claim, g.ring.dead(), g.ring.deadIndex()}
	bounds := g.b.bounds.Load()
	return batch.do(purposeDead, buryScript.args(keys, l.ID, doc, score(now), score(now.Add(-bounds.DeadLetterAge)), bounds.MaxDeadLetters)...)
}

// DeadLetters reads and empties the dead letters of a Redis. It needs no running broker.
type DeadLetters struct {
	client *redis.Client
	ring   *keyring
}

// OpenDeadLetters takes a target and kombu's global_keyprefix. It opens no connection yet; the caller closes it.
func OpenDeadLetters(t *redisconn.Target, prefix string) *DeadLetters {
	return &DeadLetters{client: t.Client(redisconn.ClientOptions{Name: "agensium-dead", PoolSize: 1}), ring: &keyring{prefix: prefix}}
}

// Close closes the connection.
func (d *DeadLetters) Close() error { return d.client.Close() }

// DeadFilter chooses dead letters; zero fields choose all.
type DeadFilter struct {
	Task   string
	Cause  string
	Queue  string
	Before time.Time
	After  time.Time
	Limit  int
}

func (f *DeadFilter) match(l *DeadLetter) bool {
	return (f.Task == "" || f.Task == l.Task) && (f.Cause == "" || f.Cause == l.Cause) && (f.Queue == "" || f.Queue == l.Queue)
}

// List returns the dead letters that the filter chooses, the newest first.
func (d *DeadLetters) List(ctx context.Context, f DeadFilter) ([]DeadLetter, error) {
	from, to := "-inf", "+inf"
	if !f.After.IsZero() {
		from = score(f.After)
	}
	if !f.Before.IsZero() {
		to = "(" + score(f.Before)
	}
	ids, err := d.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: d.ring.deadIndex(), ByScore: true, Rev: true, Start: to, Stop: from}).Result()
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var found []DeadLetter
	for some := range slices.Chunk(ids, 100) {
		docs, err := d.client.HMGet(ctx, d.ring.dead(), some...).Result()
		if err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
		for _, doc := range docs {
			text, ok := doc.(string)
			if !ok {
				continue
			}
			var l DeadLetter
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				return nil, fmt.Errorf("read a dead letter: %w", err)
			}
			if !f.match(&l) {
				continue
			}
			if found = append(found, l); len(found) == f.Limit {
				return found, nil
			}
		}
	}
	return found, nil
}

// ErrNoDeadLetter means that no dead letter has this id.
var ErrNoDeadLetter = errors.New("no such dead letter")

// Get returns one dead letter.
func (d *DeadLetters) Get(ctx context.Context, id string) (DeadLetter, error) {
	doc, err := d.client.HGet(ctx, d.ring.dead(), id).Bytes()
	if errors.Is(err, redis.Nil) {
		return DeadLetter{}, fmt.Errorf("%w: %s", ErrNoDeadLetter, id)
	}
	var l DeadLetter
	if err == nil {
		err = json.Unmarshal(doc, &l)
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %s: %w", id, err)
	}
	return l, nil
}

// countText finds the delivery count in a message. Inside a JSON string its quotes would have backslashes.
var countText = regexp.MustCompile(`"` + celery.HeaderDeliveries + `":\s*\d+`)

// Retry puts the message of a dead letter to the back of its queue, with its delivery count at 0.
func (d *DeadLetters) Retry(ctx context.Context, id string) error {
	l, err := d.Get(ctx, id)
	if err != nil {
		return err
	}
	message := countText.ReplaceAll(l.Message, []byte(`"`+celery.HeaderDeliveries+`": 0`))
	n, err := d.client.Do(ctx, retryScript.args([]string{d.ring.dead(), d.ring.deadIndex(), l.Key}, id, message)...).Int()
	if err != nil {
		return fmt.Errorf("retry dead letter %s: %w", id, err)
	}
	if n == 0 {
		return fmt.Errorf("%w: %s", ErrNoDeadLetter, id)
	}
	return nil
}

// Drop deletes dead letters and returns how many there were.
func (d *DeadLetters) Drop(ctx context.Context, ids ...string) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	var gone *redis.IntCmd
	_, err := d.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		gone = p.HDel(ctx, d.ring.dead(), ids...)
		members := make([]any, len(ids))
		for i, id := range ids {
			members[i] = id
		}
		p.ZRem(ctx, d.ring.deadIndex(), members...)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("drop %s dead letters: %w", strconv.Itoa(len(ids)), err)
	}
	return int(gone.Val()), nil
}

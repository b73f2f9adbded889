package broker

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

// batch is one pipeline in the making. Commands and their arguments are used again from round to round: at 100,000 commands a
// second they would be most of what the process allocates. Replies are valid until the next reset.
type batch struct {
	client  *redis.Client
	count   *counters
	cmds    []redis.Cmder
	sets    shelf[*redis.StatusCmd]
	pubs    shelf[*redis.IntCmd]
	dels    shelf[*redis.IntCmd]
	moves   shelf[*redis.StringCmd]
	back    shelf[*redis.StringCmd]
	expires any // seconds; nil: never
}

func newBatch(client *redis.Client, count *counters, expires time.Duration) *batch {
	b := &batch{client: client, count: count}
	ctx := context.Background() // a command's own context is not looked at in a pipeline
	if expires > 0 {
		b.expires = strconv.Itoa(int(expires / time.Second))
	}
	b.sets.build = func(r *reusable[*redis.StatusCmd]) *redis.StatusCmd {
		if b.expires == nil {
			return redis.NewStatusCmd(ctx, "SET", &r.key, &r.value)
		}
		return redis.NewStatusCmd(ctx, "SET", &r.key, &r.value, "EX", b.expires)
	}
	b.pubs.build = func(r *reusable[*redis.IntCmd]) *redis.IntCmd {
		return redis.NewIntCmd(ctx, "PUBLISH", &r.key, &r.value)
	}
	b.dels.build = func(r *reusable[*redis.IntCmd]) *redis.IntCmd {
		return redis.NewIntCmd(ctx, "DEL", &r.key)
	}
	b.moves.build = func(r *reusable[*redis.StringCmd]) *redis.StringCmd {
		return redis.NewStringCmd(ctx, "LMOVE", &r.key, &r.other, "RIGHT", "LEFT")
	}
	b.back.build = func(r *reusable[*redis.StringCmd]) *redis.StringCmd {
		return redis.NewStringCmd(ctx, "LMOVE", &r.key, &r.other, "LEFT", "RIGHT")
	}
	return b
}

func (b *batch) set(key string, doc []byte) *redis.StatusCmd {
	r := b.sets.take()
	r.key, r.value.b = key, doc
	return add(b, purposeResult, r.cmd)
}

// replace is set that answers what it replaced.
func (b *batch) replace(key string, doc []byte) *redis.StatusCmd {
	args := []any{"SET", key, doc}
	if b.expires != nil {
		args = append(args, "EX", b.expires)
	}
	return add(b, purposeResult, redis.NewStatusCmd(context.Background(), append(args, "GET")...))
}

func (b *batch) publish(key string, doc []byte) *redis.IntCmd {
	r := b.pubs.take()
	r.key, r.value.b = key, doc
	return add(b, purposeResult, r.cmd)
}

func (b *batch) del(key string) *redis.IntCmd {
	r := b.dels.take()
	r.key = key
	return add(b, purposeSettle, r.cmd)
}

// claim takes the message at the consuming end of list into the claim key.
func (b *batch) claim(list, claim string) *redis.StringCmd {
	r := b.moves.take()
	r.key, r.other = list, claim
	r.cmd.SetVal("")
	return add(b, purposeClaim, r.cmd)
}

// putBack moves the message of the claim key to the consuming end of list.
func (b *batch) putBack(claim, list string) *redis.StringCmd {
	r := b.back.take()
	r.key, r.other = claim, list
	r.cmd.SetVal("")
	return add(b, purposeSettle, r.cmd)
}

// do adds a rare command that is not worth keeping.
func (b *batch) do(p purpose, args ...any) *redis.Cmd {
	return add(b, p, redis.NewCmd(context.Background(), args...))
}

func add[C redis.Cmder](b *batch, p purpose, cmd C) C {
	b.count.add(p, 1)
	b.cmds = append(b.cmds, cmd)
	return cmd
}

func (b *batch) empty() bool { return len(b.cmds) == 0 }

// exec sends what was added. Afterwards each command has its own error; the error returned is the one that
// concerns the connection, nil if every command was answered, be it with a refusal.
func (b *batch) exec(ctx context.Context) error {
	pipe := b.client.Pipeline()
	_ = pipe.BatchProcess(ctx, b.cmds...)
	_, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	some := false
	for _, c := range b.cmds {
		if e := c.Err(); e != nil {
			some = true
			if !answered(e) {
				return e
			}
		}
	}
	if !some { // refused before anything was sent: by HELLO, AUTH or SELECT
		for _, c := range b.cmds {
			c.SetErr(err)
		}
	}
	return nil
}

func (b *batch) reset() {
	clear(b.cmds)
	b.cmds = b.cmds[:0]
	b.sets.reset()
	b.pubs.reset()
	b.dels.reset()
	b.moves.reset()
	b.back.reset()
}

// answered tells whether err is a reply of Redis (nil, or a refusal): then we know that the command was not done.
// After any other error it may have been.
func answered(err error) bool {
	if err == nil || err == redis.Nil {
		return true
	}
	var reply redis.Error
	var greeting *redisconn.RefusedError
	return errors.As(err, &reply) || errors.As(err, &greeting)
}

// refused returns the error of a command that Redis answered with a refusal; nil counts as an answer.
func refused(err error) error {
	if err == nil || err == redis.Nil || !answered(err) {
		return nil
	}
	return err
}

// shelf keeps commands of one kind for the next round.
type shelf[C redis.Cmder] struct {
	items []*reusable[C]
	used  int
	build func(*reusable[C]) C
}

// reusable is a command whose arguments are pointers into itself.
type reusable[C redis.Cmder] struct {
	cmd   C
	key   string
	other string
	value blob
}

func (s *shelf[C]) take() *reusable[C] {
	if s.used == len(s.items) {
		r := new(reusable[C])
		r.cmd = s.build(r)
		s.items = append(s.items, r)
	}
	r := s.items[s.used]
	s.used++
	r.cmd.SetErr(nil)
	return r
}

func (s *shelf[C]) reset() {
	for _, r := range s.items[:s.used] {
		r.value.b = nil // a result can be large
	}
	s.used = 0
}

// blob is an argument of bytes behind a pointer: as an interface value it costs no allocation.
type blob struct{ b []byte }

func (b *blob) MarshalBinary() ([]byte, error) { return b.b, nil }

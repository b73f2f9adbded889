package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

const (
	// Keepalive is how often a silent subscription is asked whether it still lives, if Options do not say. It finds proxies
	// that forget a connection; a dead peer is found earlier, by TCP.
	Keepalive = 10 * time.Minute
	// pongWait is how long the answer may take.
	pongWait = 15 * time.Second

	backoffFirst = 100 * time.Millisecond
	backoffMost  = 5 * time.Second
)

// listener holds the one pub/sub connection of the node: control requests and the notices of our own nodes. It reads
// in a loop of its own instead of go-redis's channel, which would send a PING every three seconds.
type listener struct {
	connect   func() *redis.Client
	keepalive time.Duration
	pongWait  time.Duration
	log       hclog.Logger

	mu       sync.Mutex // guards what follows
	channels map[string]func(payload string)
	patterns map[string]func(payload string)
	greet    []func(context.Context)
	pubsub   *redis.PubSub // nil while there is no connection
}

func newListener(connect func() *redis.Client, keepalive time.Duration, log hclog.Logger) *listener {
	return &listener{
		connect: connect, keepalive: keepalive, pongWait: pongWait, log: log,
		channels: map[string]func(string){},
		patterns: map[string]func(string){},
	}
}

// subscribe has f called for each message of the channel, one at a time; f must not wait. It may be called at any
// time; a later call for the same channel replaces f.
func (l *listener) subscribe(ctx context.Context, channel string, f func(payload string)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.channels[channel] = f
	if l.pubsub == nil {
		return nil // it is subscribed to with the rest when the connection stands
	}
	if err := l.pubsub.Subscribe(ctx, channel); err != nil {
		return fmt.Errorf("subscribe to %s: %w", channel, err)
	}
	return nil
}

// psubscribe is subscribe for a pattern of Redis, before run.
func (l *listener) psubscribe(pattern string, f func(payload string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.patterns[pattern] = f
}

// connected has f called, in a goroutine of its own, whenever the subscriptions stand anew: what was said meanwhile
// has been missed.
func (l *listener) connected(f func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.greet = append(l.greet, f)
}

// run keeps the subscriptions standing until ctx ends.
func (l *listener) run(ctx context.Context) {
	client := l.connect()
	defer func() { _ = client.Close() }() // its connections are gone already
	var greetings sync.WaitGroup
	defer greetings.Wait()
	wait, lost := backoffFirst, time.Time{}
	for ctx.Err() == nil {
		err := l.session(ctx, client, func() {
			if !lost.IsZero() {
				l.log.Info("control connection restored", "took", time.Since(lost).Round(time.Millisecond))
			}
			wait, lost = backoffFirst, time.Time{}
			for _, f := range l.greetings() {
				greetings.Go(func() { f(ctx) })
			}
		})
		if ctx.Err() != nil {
			return
		}
		if lost.IsZero() {
			lost = time.Now()
			c := redisconn.Classify(err)
			l.log.Warn("control connection lost", "error", err, "condition", c.Name, "hint", c.Hint, "next", "reconnect")
		} else {
			l.log.Debug("control connection still lost", "error", err, "next", wait)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(wait*2, backoffMost)
	}
}

// session is the life of one connection. It calls ready when all subscriptions are confirmed and returns why it ended.
func (l *listener) session(ctx context.Context, client *redis.Client, ready func()) error {
	pubsub := client.Subscribe(ctx) // opens nothing yet
	stop := context.AfterFunc(ctx, func() { _ = pubsub.Close() })
	defer func() {
		stop()
		l.detach()
		_ = pubsub.Close() // twice is harmless
	}()
	missing, err := l.attach(ctx, pubsub)
	if err != nil {
		return err
	}
	pinged := false
	for {
		timeout := l.keepalive
		if pinged || missing > 0 {
			timeout = l.pongWait
		}
		message, err := pubsub.ReceiveTimeout(ctx, timeout)
		if isTimeout(err) {
			if pinged || missing > 0 {
				return fmt.Errorf("silent for %s: %w", l.pongWait, err)
			}
			if err := pubsub.Ping(ctx); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
			pinged = true
			continue
		}
		if err != nil {
			return err
		}
		pinged = false
		switch m := message.(type) {
		case *redis.Subscription:
			if missing--; missing == 0 {
				ready()
			}
		case *redis.Message:
			l.deliver(m)
		}
	}
}

// attach subscribes to everything and returns how many confirmations are to come.
func (l *listener) attach(ctx context.Context, pubsub *redis.PubSub) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	patterns, channels := keys(l.patterns), keys(l.channels)
	if len(patterns) > 0 {
		if err := pubsub.PSubscribe(ctx, patterns...); err != nil {
			return 0, fmt.Errorf("subscribe to %v: %w", patterns, err)
		}
	}
	if len(channels) > 0 {
		if err := pubsub.Subscribe(ctx, channels...); err != nil {
			return 0, fmt.Errorf("subscribe to %v: %w", channels, err)
		}
	}
	l.pubsub = pubsub
	return len(patterns) + len(channels), nil
}

func (l *listener) detach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pubsub = nil
}

func (l *listener) deliver(m *redis.Message) {
	l.mu.Lock()
	f := l.channels[m.Channel]
	if m.Pattern != "" {
		f = l.patterns[m.Pattern]
	}
	l.mu.Unlock()
	if f != nil {
		f(m.Payload)
	}
}

func (l *listener) greetings() []func(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.greet)
}

func keys(m map[string]func(string)) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func isTimeout(err error) bool {
	var netError net.Error
	return errors.As(err, &netError) && netError.Timeout()
}

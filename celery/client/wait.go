package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrClosed is the end of a wait on a client that was closed.
var ErrClosed = errors.New("client is closed")

// waiters shares one pub/sub connection among everyone who waits for a result. The connection exists while somebody
// waits. A document is read once when its subscription is confirmed, at a reconnect too, so none is missed.
type waiters struct {
	redis *redis.Client

	mu      sync.Mutex
	pubsub  *redis.PubSub // nil while nobody waits
	waiting map[string]map[chan []byte]struct{}
	closed  bool
	done    chan struct{} // closed when the receiving goroutine has ended
}

func newWaiters(c *redis.Client) *waiters {
	return &waiters{redis: c, waiting: map[string]map[chan []byte]struct{}{}}
}

// wait returns the first document on key that is enough for the caller.
func (w *waiters) wait(ctx context.Context, key string, enough func([]byte) bool) ([]byte, error) {
	ch := make(chan []byte, 8)
	err := w.join(ctx, key, ch)
	defer w.leave(key, ch)
	if err != nil {
		return nil, err
	}
	for {
		select {
		case text, ok := <-ch:
			if !ok {
				return nil, ErrClosed
			}
			if enough(text) {
				return text, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *waiters) join(ctx context.Context, key string, ch chan []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	if w.pubsub == nil {
		w.pubsub, w.done = w.redis.Subscribe(ctx), make(chan struct{})
		go w.receive(w.pubsub, w.done)
	}
	if w.waiting[key] == nil {
		w.waiting[key] = map[chan []byte]struct{}{}
	}
	w.waiting[key][ch] = struct{}{}
	// Subscribing again to a channel is harmless, and its confirmation makes the newcomer's read.
	return w.pubsub.Subscribe(ctx, key)
}

func (w *waiters) leave(key string, ch chan []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting[key], ch)
	if len(w.waiting[key]) > 0 || w.pubsub == nil {
		return
	}
	delete(w.waiting, key)
	if len(w.waiting) == 0 {
		_ = w.pubsub.Close() // nobody listens: what it says about its end is of no use
		w.pubsub = nil
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.pubsub.Unsubscribe(ctx, key) // a message too many is dropped
}

// receive passes publications on until the connection is closed.
func (w *waiters) receive(ps *redis.PubSub, done chan struct{}) {
	defer close(done)
	ctx := context.Background()
	for wait := 10 * time.Millisecond; ; {
		message, err := ps.Receive(ctx)
		switch m := message.(type) {
		case *redis.Message:
			w.deliver(m.Channel, []byte(m.Payload))
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				w.read(ctx, m.Channel)
			}
		}
		if err == nil {
			wait = 10 * time.Millisecond
			continue
		}
		w.mu.Lock()
		current := w.pubsub == ps
		w.mu.Unlock()
		if !current {
			return
		}
		<-time.After(wait) // go-redis connects and subscribes again at the next Receive
		wait = min(2*wait, 2*time.Second)
	}
}

// read delivers what is stored already.
func (w *waiters) read(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := w.redis.Get(ctx, key).Bytes()
	if err == nil {
		w.deliver(key, text)
	}
}

func (w *waiters) deliver(key string, text []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.waiting[key] {
		select {
		case ch <- text:
		default: // full of documents that were not final: the oldest goes
			select {
			case <-ch:
			default:
			}
			ch <- text
		}
	}
}

func (w *waiters) close() {
	w.mu.Lock()
	w.closed = true
	ps, done := w.pubsub, w.done
	w.pubsub = nil
	for _, set := range w.waiting {
		for ch := range set {
			close(ch)
		}
	}
	w.waiting = map[string]map[chan []byte]struct{}{}
	w.mu.Unlock()
	if ps != nil {
		_ = ps.Close()
		<-done
	}
}

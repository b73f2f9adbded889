package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// errLinkClosed is what a use after Close gets.
var errLinkClosed = errors.New("control link is closed")

// linkIdle is how long the connection stays open after its last use.
const linkIdle = 30 * time.Second

// link is a Redis client that exists while it is used. Replies and events are rare; a connection that waits for
// them all day counts against the provider's limit.
type link struct {
	connect func() *redis.Client

	mu     sync.Mutex // guards what follows
	client *redis.Client
	users  int
	timer  *time.Timer
	closed bool
}

// do calls f with a client that stays open until f returns.
func (l *link) do(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	client, err := l.take()
	if err != nil {
		return err
	}
	defer l.release()
	return f(ctx, client)
}

func (l *link) take() (*redis.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errLinkClosed
	}
	if l.client == nil {
		l.client = l.connect()
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.users++
	return l.client, nil
}

func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users--
	if l.users > 0 {
		return
	}
	if l.closed {
		l.drop()
		return
	}
	l.timer = time.AfterFunc(linkIdle, l.expire)
}

// expire runs when nobody used the client for linkIdle.
func (l *link) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == 0 {
		l.drop()
	}
}

// close ends the link; who is using it may finish.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.users == 0 {
		l.drop()
	}
}

// drop closes the client. The caller holds mu.
func (l *link) drop() {
	if l.client == nil {
		return
	}
	_ = l.client.Close() // nothing is in flight: the only error is that it was closed before
	l.client = nil
}

package client

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

// ErrClosed is the end of a wait on a client that was closed.
var ErrClosed = errors.New("client is closed")

const (
	linger        = 30 * time.Second // that the connection stays when nobody waits any more
	firstPause    = 10 * time.Millisecond
	longestPause  = 2 * time.Second
	subscribeTurn = 3   // attempts to subscribe before a wait ends with the error
	readAtOnce    = 500 // keys of one MGET
)

// waiters shares one pub/sub connection among all who wait for results. Two goroutines serve it while it exists: one receives, the other
// subscribes, reads what is stored already and unsubscribes, each for many keys at once. A document is read when its subscription is
// confirmed, at a reconnect too, so none is missed.
type waiters struct {
	redis *redis.Client // to read
	subs  *redis.Client // to subscribe
	stop  context.CancelFunc
	until context.Context //nolint:containedctx // ends with the client
	wake  chan struct{}   // capacity 1: there is something to do
	quiet time.Duration   // linger, but for tests
	ended sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]map[*wait]struct{}
	todo    chores
	tended  bool // somebody does what is to be done
	closed  bool
	conn    net.Conn // of subs, dialed last
}

// chores are what is to be done for keys.
type chores struct {
	subscribe, read, leave []string
}

// wait is one who waits, for any number of keys.
type wait struct {
	news []news
	err  error
	told chan struct{} // capacity 1: news or err has grown
}

// news is a document that was published or found.
type news struct {
	key  string
	text []byte
}

func newWaiters(reads *redis.Client, t *redisconn.Target) *waiters {
	w := &waiters{redis: reads, wake: make(chan struct{}, 1), quiet: linger, waiting: map[string]map[*wait]struct{}{}}
	w.until, w.stop = context.WithCancel(context.Background())
	w.subs = t.Client(redisconn.ClientOptions{Name: "agensium-client-waits", OnDial: w.dialed})
	return w
}

// dialed notes the connection, since only to close it ends a handshake that nobody answers.
func (w *waiters) dialed(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn = conn; w.closed {
		_ = conn.Close()
	}
}

// wait calls each with the documents on keys, as they come, until it has enough.
func (w *waiters) wait(ctx context.Context, keys []string, each func(key string, text []byte) (enough bool)) error {
	one := &wait{told: make(chan struct{}, 1)}
	if err := w.join(one, keys); err != nil {
		return err
	}
	defer w.leave(one, keys)
	for {
		select {
		case <-one.told:
		case <-ctx.Done():
			return ctx.Err()
		}
		w.mu.Lock()
		list, err := one.news, one.err
		one.news = nil
		w.mu.Unlock()
		for _, n := range list {
			if each(n.key, n.text) {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

func (w *waiters) join(one *wait, keys []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	for _, key := range keys {
		if w.waiting[key] == nil {
			w.waiting[key] = map[*wait]struct{}{}
		}
		w.waiting[key][one] = struct{}{}
	}
	w.todo.subscribe = append(w.todo.subscribe, keys...) // again is harmless, and its confirmation makes the newcomer's read
	if !w.tended {
		w.tended = true
		w.ended.Go(w.tend)
	}
	signal(w.wake)
	return nil
}

func (w *waiters) leave(one *wait, keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		delete(w.waiting[key], one)
		if len(w.waiting[key]) == 0 {
			delete(w.waiting, key)
			w.todo.leave = append(w.todo.leave, key)
		}
	}
	signal(w.wake)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is told already
	}
}

// tend does the chores until the client is closed or nobody has waited for a while.
func (w *waiters) tend() {
	ctx, cancel := context.WithCancel(w.until)
	ps := w.subs.Subscribe(ctx) // without channels: it connects when it has some
	var receiving sync.WaitGroup
	defer func() {
		cancel()
		_ = ps.Close() // nobody listens: what it says about its end is of no use
		receiving.Wait()
	}()
	started, before := false, false
	idle := time.NewTimer(w.quiet)
	defer idle.Stop()
	for attempts := 0; ; {
		todo, quiet := w.take()
		err := w.do(ps, todo)
		switch {
		case err == nil:
			attempts = 0
		case w.until.Err() != nil:
		default:
			if attempts++; attempts == subscribeTurn || !redisconn.Classify(err).Retryable {
				w.fail(todo.subscribe, err)
				attempts = 0
			} else {
				w.again(chores{subscribe: todo.subscribe})
			}
			w.pause(firstPause << attempts)
		}
		if !started && err == nil && len(todo.subscribe) > 0 {
			started = true
			receiving.Go(func() { w.receive(ctx, ps) })
		}
		if !quiet || !before {
			idle.Reset(w.quiet)
		}
		before = quiet
		select {
		case <-w.wake:
		case <-w.until.Done():
			return
		case <-idle.C:
			if w.leaveOff() {
				return
			}
			idle.Reset(w.quiet)
		}
	}
}

// take returns what is to be done, and whether nobody waits. Keys that somebody waits for again are not left.
func (w *waiters) take() (todo chores, quiet bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := func(keys []string, is bool) []string {
		slices.Sort(keys)
		return slices.DeleteFunc(slices.Compact(keys), func(key string) bool { return (w.waiting[key] != nil) != is })
	}
	todo = chores{wanted(w.todo.subscribe, true), wanted(w.todo.read, true), wanted(w.todo.leave, false)}
	w.todo = chores{}
	return todo, len(w.waiting) == 0
}

// leaveOff ends the tending, unless somebody has come to wait.
func (w *waiters) leaveOff() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tended = len(w.waiting) > 0 || len(w.todo.subscribe) > 0
	return !w.tended
}

func (w *waiters) again(todo chores) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.todo.subscribe = append(w.todo.subscribe, todo.subscribe...)
	w.todo.read = append(w.todo.read, todo.read...)
	signal(w.wake)
}

// do does chores. The error is that of subscribing; what could not be read is read again.
func (w *waiters) do(ps *redis.PubSub, todo chores) error {
	if len(todo.leave) > 0 {
		_ = ps.Unsubscribe(w.until, todo.leave...) // a message too many is dropped
	}
	for keys := range slices.Chunk(todo.read, readAtOnce) {
		switch err := w.read(keys); {
		case err == nil || w.until.Err() != nil:
		case redisconn.Classify(err).Retryable:
			w.again(chores{read: keys})
			w.pause(longestPause / 8)
		default:
			w.fail(keys, err)
		}
	}
	if len(todo.subscribe) > 0 {
		return ps.Subscribe(w.until, todo.subscribe...)
	}
	return nil
}

// read delivers what is stored already.
func (w *waiters) read(keys []string) error {
	if len(keys) == 1 {
		text, err := w.redis.Get(w.until, keys[0]).Bytes()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		if err == nil {
			w.deliver(keys[0], text)
		}
		return err
	}
	values, err := w.redis.MGet(w.until, keys...).Result()
	for i, v := range values {
		if text, ok := v.(string); ok {
			w.deliver(keys[i], []byte(text))
		}
	}
	return err
}

// receive passes publications on until the connection is closed.
func (w *waiters) receive(ctx context.Context, ps *redis.PubSub) {
	for wait := firstPause; ; {
		message, err := ps.Receive(ctx)
		switch m := message.(type) {
		case *redis.Message:
			w.deliver(m.Channel, []byte(m.Payload))
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				w.again(chores{read: []string{m.Channel}})
			}
		}
		switch {
		case err == nil:
			wait = firstPause
		case ctx.Err() != nil:
			return
		case redis.HasErrorPrefix(err, "NOSUB"): // Valkey, to who unsubscribes where nothing is subscribed
		default:
			if !redisconn.Classify(err).Retryable {
				w.failAll(err)
			}
			w.pause(wait) // go-redis connects and subscribes again at the next Receive
			wait = min(2*wait, longestPause)
		}
	}
}

func (w *waiters) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.until.Done():
	}
}

func (w *waiters) deliver(key string, text []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.waiting[key] {
		one.news = append(one.news, news{key, text})
		signal(one.told)
	}
}

// fail ends the waits for keys.
func (w *waiters) fail(keys []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		w.end(w.waiting[key], err)
	}
}

func (w *waiters) failAll(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, set := range w.waiting {
		w.end(set, err)
	}
}

func (*waiters) end(set map[*wait]struct{}, err error) {
	for one := range set {
		one.err = err
		signal(one.told)
	}
}

// close ends every wait. What reads must be closed before await.
func (w *waiters) close() {
	w.mu.Lock()
	w.closed = true
	if w.conn != nil {
		_ = w.conn.Close()
	}
	w.mu.Unlock()
	w.failAll(ErrClosed)
	w.stop()
}

// await returns when nothing of w is left.
func (w *waiters) await() error {
	w.ended.Wait()
	return w.subs.Close()
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

// Broker claims messages for the slots that wait in [Broker.Next] and settles what they bring.
type Broker struct {
	opt   Options
	log   hclog.Logger
	inbox inbox
	tally tally
	known server
	conns connections
	ties  ties

	commands *redis.Client // the engine's, one connection
	aux      *redis.Client // of all other loops, one connection
	store    *redis.Client // of the result store, if it is another server

	eng      *engine
	lease    *lease
	storer   *storer
	recovery *recovery
	parking  *parking
	leftover *leftover
	graves   *graves

	presence presence
	bounds   atomic.Pointer[Bounds]
	draining atomic.Bool
	started  atomic.Bool
	life     context.Context // ends when everything has to stop
	end      context.CancelFunc
	begun    chan struct{} // the first incarnation has begun
	ended    chan struct{} // the engine has ended
	loops    sync.WaitGroup
	closing  sync.Once
}

// New checks the options. It opens no connection.
func New(o Options) (*Broker, error) {
	o.defaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("broker options: %w", err)
	}
	b := &Broker{opt: o, log: o.Log, begun: make(chan struct{}), ended: make(chan struct{})}
	b.inbox.wake = make(chan struct{}, 1)
	b.SetBounds(Bounds{o.MaxDeliveries, o.MaxDeadLetters, o.DeadLetterAge})
	b.life, b.end = context.WithCancel(context.Background())
	b.conns.closed = b.ties.ended
	b.ties.patience = o.BlockTimeout + o.Quarantine
	b.commands = b.client("commands", nil)
	b.aux = b.client("aux", nil)
	if !o.Results.Same(o.Target) {
		b.store = b.conns.open(func(onDial func(net.Conn)) *redis.Client {
			return o.Results.Client(b.clientOptions("results", onDial))
		}, nil)
	}
	ring := newKeyring(&b.opt)
	b.lease = newLease(b, ring)
	b.storer = newStorer(b)
	b.recovery = newRecovery(b, ring)
	b.parking = newParking(b, ring)
	b.leftover = newLeftover(b, ring)
	b.graves = newGraves(b, ring)
	b.eng = newEngine(b, ring)
	return b, nil
}

func (b *Broker) clientOptions(use string, onDial func(net.Conn)) redisconn.ClientOptions {
	return redisconn.ClientOptions{
		Name: "agensium-" + use, PoolSize: 1, OnDial: onDial,
		DialTimeout: b.opt.DialTimeout, ReadTimeout: b.opt.IOTimeout, WriteTimeout: b.opt.IOTimeout,
	}
}

func (b *Broker) client(use string, onDial func(net.Conn)) *redis.Client {
	var client *redis.Client
	client = b.conns.open(func(onDial func(net.Conn)) *redis.Client {
		o := b.clientOptions(use, onDial)
		o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
			if err := b.greet(ctx, conn); err != nil {
				return err
			}
			return b.tie(ctx, conn, client)
		}
		return b.opt.Target.Client(o)
	}, onDial)
	return client
}

// Run connects, for as long as it takes, gives back what dead nodes held, and claims. It returns when [Broker.Close] is done; the end of ctx closes
// too, and waits for what is owed no longer than closeTimeout. It is called once.
func (b *Broker) Run(ctx context.Context) error {
	if !b.started.CompareAndSwap(false, true) {
		return errors.New("broker: Run called twice, or after Close")
	}
	for _, loop := range []func(context.Context){b.lease.run, b.storer.run, b.recovery.run, b.parking.run, b.leftover.run} {
		b.loops.Go(func() { loop(b.life) })
	}
	stop := context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = b.Close(bounded)
	})
	defer stop()
	b.eng.serve(b.life)
	b.eng.leave(b.life)
	b.seal()
	close(b.ended)
	return nil
}

// Connected is closed when Redis knows of this node and claims may begin, the first time.
func (b *Broker) Connected() <-chan struct{} { return b.begun }

const closeTimeout = 10 * time.Second

// Drain claims no more: waiting calls of Next return ErrDraining, waits end, and what lands all the same is put back. Settlements are
// taken as before.
func (b *Broker) Drain() {
	if b.draining.Swap(true) {
		return
	}
	b.inbox.call(b.eng.drain)
}

// Close drains, writes what is owed, puts back what is still held, leaves the registry and closes the connections. When ctx ends
// first the rest is left to recovery, and the error says what becomes of it.
func (b *Broker) Close(ctx context.Context) error {
	b.Drain()
	var err error
	if b.started.CompareAndSwap(false, true) { // never run
		b.seal()
		close(b.ended)
	} else {
		b.inbox.call(b.eng.close)
		select {
		case <-b.ended:
		case <-ctx.Done():
			err = b.leftBehind(context.Cause(ctx))
		}
	}
	b.closing.Do(func() {
		b.end()
		b.closeClients()
	})
	<-b.ended
	b.loops.Wait()
	return err
}

// leftBehind says what becomes of what could not be written before the end. A node that held nothing loses nothing.
func (b *Broker) leftBehind(cause error) error {
	s := b.Status()
	for _, c := range []*Condition{s.Results, s.Condition} {
		if c != nil {
			cause = errors.New(c.Error)
		}
	}
	if s.Claims == 0 {
		b.log.Warn("left without telling Redis", "error", cause, "next", "nothing was held; the node is forgotten when its lease ends")
		return nil
	}
	ended := ""
	if s.Owed > 0 {
		ended = fmt.Sprintf("; for %d of them the result or the way back was not written, as if it had not ended", s.Owed)
	}
	return fmt.Errorf("messages stay claimed in Redis: %d, which this node gives back when it starts again, or another when the lease of %s has ended%s: %w",
		s.Claims, s.LeaseTTL, ended, cause)
}

func (b *Broker) closeClients() {
	_ = b.commands.Close()
	_ = b.aux.Close()
	if b.store != nil {
		_ = b.store.Close()
	}
}

// seal answers everyone who still waits, and takes no more.
func (b *Broker) seal() {
	in := &b.inbox
	in.mu.Lock()
	in.closed = true
	left := in.works
	calls := in.calls
	in.works, in.calls = nil, nil
	in.mu.Unlock()
	for _, f := range calls {
		f()
	}
	for _, w := range append(left, append(b.eng.waiters, b.eng.owed...)...) {
		w.answer(nil, ErrClosed)
	}
	b.storer.seal()
	b.eng.closeLines()
}

// pause waits for d or the end of life.
func (b *Broker) pause(life context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-life.Done():
	}
}

// AddQueue begins to consume a queue. It returns when the registry knows of it, so that no claim can get lost.
func (b *Broker) AddQueue(ctx context.Context, queue string) error {
	if queue == "" {
		return errors.New("add queue: empty name")
	}
	done := make(chan struct{})
	if !b.inbox.call(func() { b.eng.addQueue(queue, done) }) {
		return ErrClosed
	}
	select {
	case <-done:
		return nil
	case <-b.ended:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RemoveQueue consumes a queue no more. Deliveries that are held are settled as usual; what lands all the same is put back.
func (b *Broker) RemoveQueue(queue string) {
	b.inbox.call(func() { b.eng.removeQueue(queue) })
}

// Pause claims nothing until it is called with false: waiting calls of Next stay, and what lands all the same is put back.
func (b *Broker) Pause(on bool) {
	b.inbox.call(func() { b.eng.paused = on })
}

// NoticeChannel is the pub/sub channel on which nodes announce their start. Who listens there calls Notice for each message, so that
// peers of a node that is alone in the registry look for each other soon; without it they do at the next look.
func (b *Broker) NoticeChannel() string { return b.eng.ring.notice() }

// Notice makes the broker look at the registry.
func (b *Broker) Notice() { b.recovery.poke() }

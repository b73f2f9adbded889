package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
)

// Options says who we are and where the control channel is. Name, Names, Connect and Log are required.
type Options struct {
	Name    string               // of the node: "celery@host"
	Names   Names                // of keys and channels
	Connect func() *redis.Client // a new client of the broker's database for two connections, without retries; we close it
	Node    Node
	Events  EventOptions
	Log     hclog.Logger

	Keepalive   time.Duration // between looks whether a silent subscription still stands; 0: Keepalive
	RevokedMost int           // revocations that are kept; 0: RevokedMost
	RevokedAge  time.Duration // for so long; 0: RevokedAge
}

// Control is a node's remote control. Its methods may be called by any goroutine.
type Control struct {
	Clock   *Clock
	Revoked *Revoked
	Events  *Events

	listener *listener
	link     *link
	mailbox  *mailbox
}

// New checks the options and opens nothing.
func New(o Options) (*Control, error) {
	if o.Name == "" || o.Connect == nil || o.Log == nil || o.Names.ControlExchange == "" {
		return nil, errors.New("control needs a name, names, a way to connect and a log")
	}
	k := &link{connect: o.Connect}
	c := &Control{Clock: new(Clock), listener: newListener(o.Connect, cmp.Or(o.Keepalive, Keepalive), o.Log), link: k}
	c.Revoked = newRevoked(o.RevokedMost, o.RevokedAge, o.Names, k, o.Log)
	c.Events = newEvents(o.Name, o.Events, o.Names, k, c.Clock, o.Log)
	h := &commands{node: o.Name, of: o.Node, revoked: c.Revoked, events: c.Events, clock: c.Clock, log: o.Log}
	c.mailbox = newMailbox(o.Name, o.Names, c.listener, k, c.Clock, h, o.Log)
	c.listener.channels[o.Names.revoked()] = c.Revoked.noticed
	c.listener.connected(c.Revoked.load)
	return c, nil
}

// Subscribe has f called for each message of a channel, on the one pub/sub connection of the node. f must not wait.
// What is published while the connection is down is lost: see [Control.Connected].
func (c *Control) Subscribe(ctx context.Context, channel string, f func(payload string)) error {
	if f == nil {
		return fmt.Errorf("subscribe to %s: nobody to call", channel)
	}
	return c.listener.subscribe(ctx, channel, f)
}

// Connected has f called, in a goroutine of its own, whenever the subscriptions stand anew, the first time included:
// the moment to look for oneself at what notices may have said meanwhile. Call it before Run.
func (c *Control) Connected(f func(context.Context)) { c.listener.connected(f) }

// Run serves until ctx ends, which should be after the drain. It reconnects by itself and never gives up.
func (c *Control) Run(ctx context.Context) {
	defer c.link.close()
	c.Events.begin()
	var group sync.WaitGroup
	group.Go(func() { c.listener.run(ctx) })
	group.Go(func() { c.mailbox.run(ctx) })
	group.Go(func() { c.Events.run(ctx) })
	group.Wait()
	c.mailbox.leave() // when nothing can put the node on the list again
}

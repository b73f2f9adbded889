package control

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
)

// Options says who we are and where the control channel is. All fields but Clock are required.
type Options struct {
	Name    string               // of the node: "celery@host"
	Names   Names                // of keys and channels
	Connect func() *redis.Client // a new client of the broker's database: few connections, no internal retries; we close it
	Node    Node
	Log     hclog.Logger
}

// Control is a node's remote control. Its methods may be called by any goroutine.
type Control struct {
	Clock *Clock

	listener *listener
	link     *link
	mailbox  *mailbox
}

// New checks the options and opens nothing.
func New(o Options) (*Control, error) {
	if o.Name == "" || o.Connect == nil || o.Log == nil || o.Names.ControlExchange == "" {
		return nil, errors.New("control needs a name, names, a way to connect and a log")
	}
	c := &Control{Clock: new(Clock), listener: newListener(o.Connect, o.Log), link: &link{connect: o.Connect}}
	table := &commands{node: o.Name, of: o.Node, clock: c.Clock, log: o.Log, table: table}
	c.mailbox = newMailbox(o.Name, o.Names, c.listener, c.link, c.Clock, table, o.Log)
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
	var group sync.WaitGroup
	group.Go(func() { c.listener.run(ctx) })
	group.Go(func() { c.mailbox.run(ctx) })
	group.Wait()
}

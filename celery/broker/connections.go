package broker

import (
	"net"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// connections knows the clients and what they have dialed, so that they can be counted and all be cut.
type connections struct {
	mu      sync.Mutex
	clients []*redis.Client
	last    map[*redis.Client]net.Conn // dialed last; it may be closed already
	dialed  uint64
	closed  func(*redis.Client) // told of each that is closed for good
}

// open makes a client whose connections are known here. onDial may be nil.
func (c *connections) open(build func(onDial func(net.Conn)) *redis.Client, onDial func(net.Conn)) *redis.Client {
	var client *redis.Client
	client = build(func(conn net.Conn) {
		c.mu.Lock()
		c.dialed++
		if c.last == nil {
			c.last = map[*redis.Client]net.Conn{}
		}
		c.last[client] = conn
		c.mu.Unlock()
		if onDial != nil {
			onDial(conn)
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = append(c.clients, client)
	return client
}

// close closes a client for good.
func (c *connections) close(client *redis.Client) {
	c.mu.Lock()
	c.clients = slices.DeleteFunc(c.clients, func(o *redis.Client) bool { return o == client })
	delete(c.last, client)
	c.mu.Unlock()
	_ = client.Close()
	c.closed(client)
}

// cut closes every connection under its client, which dials again when it needs one.
func (c *connections) cut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.last)
	for client, conn := range c.last {
		_ = conn.Close()
		delete(c.last, client)
	}
	return n
}

// count returns how many connections are open, and how many were ever dialed.
func (c *connections) count() (open int, dialed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.clients {
		open += int(client.PoolStats().TotalConns)
	}
	return open, c.dialed
}

// Rebuild cuts every connection, as if the network had: what was under way is in doubt and looked at again, claims stay, and
// new connections are dialed. It is for when messages wait, a slot is free and nothing is claimed. It returns how many
// connections there were.
func (b *Broker) Rebuild() int { return b.conns.cut() }

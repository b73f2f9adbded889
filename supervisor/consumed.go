package supervisor

import (
	"slices"
	"sync"
)

// consumed are the queues that this node consumes now, in order.
type consumed struct {
	mu     sync.Mutex
	queues []string
}

func (c *consumed) set(queues []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queues = slices.Clone(queues)
}

func (c *consumed) add(queue string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.queues, queue) {
		c.queues = append(c.queues, queue)
	}
}

func (c *consumed) remove(queue string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queues = slices.DeleteFunc(c.queues, func(q string) bool { return q == queue })
}

func (c *consumed) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.queues)
}

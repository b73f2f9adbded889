package supervisor

import (
	"slices"
	"sync"

	"github.com/agensium/agensium/celery/control"
)

// consumed are the queues that this node consumes now, in order.
type consumed struct {
	mu     sync.Mutex
	queues []string
	added  map[string]control.Queue // by remote control: where each is bound
}

// bind notes where a queue is bound that remote control adds.
func (c *consumed) bind(q control.Queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.added == nil {
		c.added = map[string]control.Queue{}
	}
	c.added[q.Name] = q
}

// bound is what remote control said of a queue, if anything.
func (c *consumed) bound(name string) control.Queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.added[name]
	q.Name = name
	return q
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

package client

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// ProducerOptions are kombu's transport options that change where messages go. Zero values are kombu's defaults.
type ProducerOptions struct {
	KeyPrefix     string // global_keyprefix
	Separator     string // sep
	PrioritySteps []int  // priority_steps, ascending
}

// Producer pushes messages to the lists of their queues. Any number of goroutines may use one.
type Producer struct {
	redis   redis.Cmdable
	options ProducerOptions

	mu       sync.Mutex
	declared map[string]bool // queues whose binding was written
}

// NewProducer returns a producer on a client that stays its owner's.
func NewProducer(c redis.Cmdable, o ProducerOptions) *Producer {
	if o.Separator == "" {
		o.Separator = "\x06\x16"
	}
	if len(o.PrioritySteps) == 0 {
		o.PrioritySteps = []int{0, 3, 6, 9}
	}
	return &Producer{redis: c, options: o, declared: map[string]bool{}}
}

// Publish pushes messages in their order, in one pipeline. After an error some of them may have arrived.
func (p *Producer) Publish(ctx context.Context, messages []celery.Message) error {
	if len(messages) == 0 {
		return nil
	}
	declare := p.undeclared(messages)
	_, err := p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, queue := range declare {
			pipe.SAdd(ctx, p.options.KeyPrefix+"_kombu.binding."+queue, queue+p.options.Separator+p.options.Separator+queue)
		}
		for i := range messages {
			pipe.LPush(ctx, p.key(messages[i].Queue, messages[i].Priority), messages[i].Raw)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("push %d messages, the first to queue %s: %w", len(messages), messages[0].Queue, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, queue := range declare {
		p.declared[queue] = true
	}
	return nil
}

// undeclared lists the queues whose bindings kombu's client would write before these messages: once for each.
func (p *Producer) undeclared(messages []celery.Message) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var queues []string
	last := ""
	for i := range messages {
		q := messages[i].Queue
		if q == last || p.declared[q] {
			continue
		}
		last = q
		queues = append(queues, q)
	}
	return queues
}

// key is the list of a queue and priority: clamped to 0..9 and rounded down to a step (protocol notes B.2).
func (p *Producer) key(queue string, priority int) string {
	priority = max(0, min(9, priority))
	step := p.options.PrioritySteps[0]
	for _, s := range p.options.PrioritySteps {
		if s <= priority {
			step = s
		}
	}
	if step == 0 {
		return p.options.KeyPrefix + queue
	}
	return p.options.KeyPrefix + queue + p.options.Separator + strconv.Itoa(step)
}

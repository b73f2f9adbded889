package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/celery/redisconn"
)

// Options say which Redis to use and how. Broker is required.
type Options struct {
	Broker        *redisconn.Target
	Results       *redisconn.Target // nil: the broker's
	Producer      ProducerOptions
	ResultPrefix  string         // global_keyprefix of the result store, complete
	ResultExpires time.Duration  // result_expires; 0: a day
	Sender        *celery.Sender // nil: NewSender
	Tasks         *celery.Mux    // handlers whose Expires and IgnoreResult hold for what is sent to them; nil: the sender's
	PoolSize      int            // connections to the broker; 0: 4
}

// Client sends tasks and waits for results. Any number of goroutines may use one.
type Client struct {
	options   Options
	broker    *redis.Client
	results   *redis.Client
	producer  *Producer
	sender    *celery.Sender
	documents celery.Documents
	waiters   *waiters
	closing   sync.Once
	closed    error // what Close said
}

// Open returns a client by the URLs that Celery has in broker_url and result_backend; an empty one for results is the
// broker's. It opens connections when it needs them.
func Open(broker, results string) (*Client, error) {
	var o Options
	var err error
	if o.Broker, err = redisconn.Parse(broker, nil); err != nil {
		return nil, fmt.Errorf("open client: %w", err)
	}
	if results != "" {
		if o.Results, err = redisconn.Parse(results, nil); err != nil {
			return nil, fmt.Errorf("open client: results: %w", err)
		}
	}
	return New(o)
}

// New returns a client, as Open does, with more to say.
func New(o Options) (*Client, error) {
	if o.Broker == nil {
		return nil, fmt.Errorf("new client: no broker")
	}
	if o.Results == nil {
		o.Results = o.Broker
	}
	if o.ResultExpires == 0 {
		o.ResultExpires = 24 * time.Hour
	}
	if o.PoolSize == 0 {
		o.PoolSize = 4
	}
	c := &Client{options: o, sender: o.Sender, documents: celery.Documents{KeyPrefix: o.ResultPrefix}}
	if c.sender == nil {
		c.sender = celery.NewSender()
	}
	if o.Tasks != nil {
		sender := *c.sender
		sender.Tasks = o.Tasks
		c.sender = &sender
	}
	c.broker = o.Broker.Client(redisconn.ClientOptions{Name: "agensium-client", PoolSize: o.PoolSize})
	c.results = c.broker
	if !o.Results.Same(o.Broker) {
		c.results = o.Results.Client(redisconn.ClientOptions{Name: "agensium-client-results", PoolSize: o.PoolSize})
	}
	c.producer = NewProducer(c.broker, o.Producer)
	c.waiters = newWaiters(c.results, o.Results)
	return c, nil
}

// Close ends every wait and closes the connections. To close it again is harmless.
func (c *Client) Close() error {
	c.closing.Do(func() {
		c.waiters.close()
		c.closed = c.broker.Close()
		if c.results != c.broker {
			c.closed = errors.Join(c.closed, c.results.Close())
		}
		c.closed = errors.Join(c.closed, c.waiters.await())
	})
	return c.closed
}

// Send sends a task with positional arguments. Inside of a handler, with its ctx, the task becomes a child of the one
// that runs.
func (c *Client) Send(ctx context.Context, task string, args ...any) (*Result, error) {
	return c.Apply(ctx, celery.S(task, args...))
}

// Apply sends a signature, a chain, a group or a chord.
func (c *Client) Apply(ctx context.Context, sig *celery.Signature) (*Result, error) {
	b := c.Batch(ctx)
	r, err := b.Apply(sig)
	if err != nil {
		return nil, err
	}
	return r, b.Flush()
}

// Batch gathers signatures and sends them in one pipeline.
type Batch struct {
	client *Client
	ctx    context.Context //nolint:containedctx // a batch lives within one call of its user
	plans  []*celery.Plan
	count  int
}

// Batch returns an empty batch. It is for one goroutine.
func (c *Client) Batch(ctx context.Context) *Batch { return &Batch{client: c, ctx: ctx} }

// Send adds a task with positional arguments.
func (b *Batch) Send(task string, args ...any) (*Result, error) {
	return b.Apply(celery.S(task, args...))
}

// Apply adds a signature. The error is about its arguments and options.
func (b *Batch) Apply(sig *celery.Signature) (*Result, error) {
	from := celery.RequestFrom(b.ctx)
	plan, err := b.client.sender.Apply(sig, nil, celery.Options{}, from)
	if err != nil {
		return nil, err
	}
	b.plans = append(b.plans, plan)
	b.count += len(plan.Messages)
	return &Result{Ref: plan.Result, client: b.client}, nil
}

// Len is the number of messages in the batch.
func (b *Batch) Len() int { return b.count }

// Flush sends what was added and empties the batch. After an error some of it may have arrived.
func (b *Batch) Flush() error {
	messages := make([]celery.Message, 0, b.count)
	defer func() { b.plans, b.count = b.plans[:0], 0 }()
	for _, p := range b.plans {
		if len(p.Chords)+len(p.Groups) > 0 {
			if err := backend.Prepare(b.ctx, b.client.results, &b.client.documents, b.client.options.ResultExpires, p); err != nil {
				return fmt.Errorf("store size of chord: %w", err)
			}
		}
		messages = append(messages, p.Messages...)
	}
	if err := b.client.producer.Publish(b.ctx, messages); err != nil {
		return err
	}
	if from := celery.RequestFrom(b.ctx); from != nil {
		for _, p := range b.plans {
			for _, ref := range p.Sent {
				from.Sent(ref)
			}
		}
	}
	return nil
}

// Result stands for the result of a task that was sent, or for those of a group.
type Result struct {
	Ref    *celery.Ref
	client *Client
}

// Result returns the result of a task whose id is known.
func (c *Client) Result(id string) *Result { return &Result{Ref: &celery.Ref{ID: id}, client: c} }

// ID is the id of the task or the group.
func (r *Result) ID() string { return r.Ref.ID }

// Parent is the result of the step before in a chain, or of a chord's header; nil if there is none.
func (r *Result) Parent() *Result {
	if r.Ref.Parent == nil {
		return nil
	}
	return &Result{Ref: r.Ref.Parent, client: r.client}
}

// Children are the results of a group's tasks.
func (r *Result) Children() []*Result {
	list := make([]*Result, len(r.Ref.Children))
	for i, c := range r.Ref.Children {
		list[i] = &Result{Ref: c, client: r.client}
	}
	return list
}

// Document is a stored result.
type Document struct {
	ID        string       `json:"task_id"`
	State     celery.State `json:"status"` // PENDING if nothing is stored
	Result    pyjson.Raw   `json:"result"`
	Traceback *string      `json:"traceback"`
	Children  pyjson.Raw   `json:"children"`
	Done      *time.Time   `json:"date_done"`
	Group     string       `json:"group_id"`
	ParentID  string       `json:"parent_id"`
}

// Ready tells whether the state is final.
func (d *Document) Ready() bool {
	return d.State == celery.StateSuccess || d.State == celery.StateFailure || d.State == celery.StateRevoked
}

// TaskError is the failure of a task that somebody waits for.
type TaskError struct {
	ID        string
	State     celery.State // StateFailure or StateRevoked
	Exception celery.Exception
	Traceback string
}

func (e *TaskError) Error() string {
	return fmt.Sprintf("task %s ended as %s: %s", e.ID, e.State, e.Exception.LastLine())
}

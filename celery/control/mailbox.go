package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
)

const (
	// maxWaiting bounds the requests that wait for their turn. Those that take their time are served by maxSlow at once, and
	// maxLater may wait for them: somebody who revokes thousands of tasks sends as many requests.
	maxWaiting = 1024
	maxSlow    = 16
	maxLater   = 20_000
	// commandTimeout ends what a command waits for. No client waits longer by default than a minute (objgraph).
	commandTimeout = 60 * time.Second
	// farewell is how long the leaving node tries to take its name off the list.
	farewell = 2 * time.Second
)

// handler runs a command. Its value becomes the reply; errNoReply means that none is sent.
type handler interface {
	handle(ctx context.Context, method string, args Arguments) (any, error)
	// slow tells whether a command may have to wait for something, so that it must not hold up the others.
	slow(method string) bool
	// open and seal turn a body of another serializer into JSON and back.
	open(ctx context.Context, c content) (json.RawMessage, error)
	seal(ctx context.Context, kind string, value json.RawMessage) (content, error)
}

// errNoReply is returned by commands that Celery does not answer either.
var errNoReply = errors.New("no reply")

// mailbox receives the requests that are meant for this node, has them handled and replies (kombu/pidbox.py Node).
type mailbox struct {
	node     string
	names    Names
	listener *listener
	link     *link
	clock    *Clock
	handler  handler
	log      hclog.Logger

	waiting chan *request // to the one goroutine that answers at once, in order
	later   chan *request // to those that serve slow commands
}

func newMailbox(node string, names Names, l *listener, k *link, c *Clock, h handler, log hclog.Logger) *mailbox {
	m := &mailbox{
		node: node, names: names, listener: l, link: k, clock: c, handler: h, log: log,
		waiting: make(chan *request, maxWaiting),
		later:   make(chan *request, maxLater),
	}
	l.psubscribe(names.requests(), m.receive)
	l.connected(m.announce)
	return m
}

// run answers requests until ctx ends.
func (m *mailbox) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for range maxSlow {
		group.Go(func() { m.serveAll(ctx, m.later) })
	}
	m.serveAll(ctx, m.waiting) // at once, in order
}

func (m *mailbox) serveAll(ctx context.Context, requests <-chan *request) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-requests:
			m.serve(ctx, r)
		}
	}
}

// receive looks at a message of the control channel. It is called by the listener and must not wait.
func (m *mailbox) receive(payload string) {
	m.clock.Forward()
	r, err := decodeRequest([]byte(payload))
	if err != nil {
		m.log.Warn("control message ignored", "error", err, "bytes", len(payload), "next", "wait for the next one")
		return
	}
	m.clock.Adjust(r.clock)
	if !r.sealed() && !m.mine(r) {
		return
	}
	queue := m.waiting
	if r.sealed() || m.handler.slow(r.method) {
		queue = m.later
	}
	select {
	case queue <- r:
	default:
		m.log.Warn("control request dropped", "method", r.method, "reason", "too many waiting", "limit", cap(queue))
	}
}

// mine tells whether a request is meant for this node.
func (m *mailbox) mine(r *request) bool {
	mine, err := r.to.includes(m.node)
	if errors.Is(err, errPattern) {
		r.refusal = err // the sender deserves to know: in its own language the pattern might have matched
		return true
	}
	if err != nil {
		m.log.Warn("control request ignored", "method", r.method, "error", err, "next", "wait for the next one")
	}
	return mine
}

// unseal reads a request of another serializer and tells whether it is meant for this node.
func (m *mailbox) unseal(ctx context.Context, r *request) bool {
	body, err := m.handler.open(ctx, r.content)
	if err == nil {
		err = r.read(body)
	}
	if err != nil {
		m.log.Warn("control message ignored", "type", r.content.kind, "error", err, "size", len(r.content.body), "next", "wait for the next one")
		return false
	}
	return m.mine(r)
}

// serve runs a command and sends what it returns.
func (m *mailbox) serve(ctx context.Context, r *request) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if r.sealed() && !m.unseal(ctx, r) {
		return
	}
	var value any
	err := r.refusal
	if err == nil {
		value, err = m.handler.handle(ctx, r.method, r.arguments)
	}
	if errors.Is(err, errNoReply) {
		return
	}
	if err != nil {
		m.log.Warn("control command refused", "method", r.method, "error", err)
		value = failed(errorText(err))
	}
	m.answer(ctx, r, value)
}

func (m *mailbox) answer(ctx context.Context, r *request, value any) {
	if r.replyTo == nil {
		return
	}
	if err := m.reply(ctx, r, value); err != nil {
		m.log.Warn("control reply not sent", "method", r.method, "error", err)
	}
}

// Replies live long enough for a reader whose clock is off, and no longer: the reader deletes the list itself, unless it died.
const (
	replyMargin = 30 * time.Second
	replyLeast  = 60 * time.Second
	replyMost   = 10 * time.Minute
)

// reply puts the answer into the client's list, provided that the client is still there: a list that nobody reads
// would stay for ever. The time to live is set in the same transaction, for clients that die with their list unread.
func (m *mailbox) reply(ctx context.Context, r *request, value any) error {
	if r.replyTo.Exchange != m.names.replyExchange() {
		// It would be put into a list that is none of ours, a queue of tasks for instance.
		return fmt.Errorf("reply to exchange %.80q: not %q", r.replyTo.Exchange, m.names.replyExchange())
	}
	body, err := json.Marshal(map[string]any{m.node: value})
	if err != nil { // what a Node gave us is not JSON; the client should not wait in vain
		m.log.Error("control reply cannot be encoded", "method", r.method, "error", err, "next", "answer with the error")
		if body, err = json.Marshal(map[string]any{m.node: failed(errorText(err))}); err != nil {
			return fmt.Errorf("encode reply: %w", err)
		}
	}
	c := jsonContent(body)
	if r.content.kind != jsonType {
		// Who sends another serializer reads it, and may not read JSON.
		if c, err = m.handler.seal(ctx, r.content.kind, body); err != nil {
			return err
		}
	}
	headers := struct {
		Ticket json.RawMessage `json:"ticket"`
		Clock  int64           `json:"clock"`
	}{r.ticket, m.clock.Forward()}
	message, err := seal(c, headers, r.replyTo.Exchange, r.replyTo.RoutingKey)
	if err != nil {
		return err
	}
	list, bindings, member := m.names.reply(r.replyTo.RoutingKey)
	ttl := replyLeast
	if !r.expires.IsZero() {
		ttl = min(max(time.Until(r.expires)+replyMargin, replyLeast), replyMost)
	}
	return m.link.do(ctx, func(ctx context.Context, client *redis.Client) error {
		there, err := client.SIsMember(ctx, bindings, member).Result()
		if err != nil {
			return fmt.Errorf("look for the reader of a reply: %w", err)
		}
		if !there {
			m.log.Debug("control reply dropped", "method", r.method, "reason", "the client is gone")
			return nil
		}
		_, err = client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.LPush(ctx, list, message)
			p.Expire(ctx, list, ttl)
			return nil
		})
		if err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
		return nil
	})
}

// announce puts the node on the list of mailboxes, as kombu's declaration of its queue does.
func (m *mailbox) announce(ctx context.Context) {
	key, member := m.names.mailbox(m.node)
	err := m.link.do(ctx, func(ctx context.Context, client *redis.Client) error {
		return client.SAdd(ctx, key, member).Err()
	})
	if err != nil && ctx.Err() == nil {
		m.log.Warn("node not put on the list of mailboxes", "error", err, "next", "requests are answered all the same")
	}
}

// leave takes the node off the list.
func (m *mailbox) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	key, member := m.names.mailbox(m.node)
	err := m.link.do(ctx, func(ctx context.Context, client *redis.Client) error {
		return client.SRem(ctx, key, member).Err()
	})
	if err != nil {
		m.log.Warn("node not taken off the list of mailboxes", "error", err, "next", "leave")
	}
}

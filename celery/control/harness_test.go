package control

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

// connector makes clients for database db of a server as the supervisor does.
func connector(t testing.TB, url string) func() *redis.Client {
	t.Helper()
	target, err := redisconn.Parse(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() *redis.Client { return target.Client(redisconn.ClientOptions{Name: "control", PoolSize: 2}) }
}

// testOptions are those of a node on a server.
func testOptions(t testing.TB, name, url string, node Node) Options {
	t.Helper()
	return Options{
		Name: name, Names: NewNames(0, nil, "", ""), Connect: connector(t, url), Node: node,
		Log: hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Debug, Output: testWriter{t}}),
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b))
	return len(b), nil
}

// startControl runs a node's remote control until the test ends and returns when its subscriptions stand.
func startControl(t testing.TB, o Options) *Control {
	t.Helper()
	c, stop := runControl(t, o)
	t.Cleanup(stop)
	return c
}

// runControl is startControl for tests that stop it themselves; stopping twice is harmless.
func runControl(t testing.TB, o Options) (*Control, func()) {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	standing := make(chan struct{})
	var once sync.Once
	c.Connected(func(context.Context) { once.Do(func() { close(standing) }) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	await(t, "the subscriptions to stand", standing)
	return c, func() {
		cancel()
		await(t, "the control to end", ended)
	}
}

func await(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(celerytest.Backstop):
		t.Fatalf("waited %s for: %s", celerytest.Backstop, what)
	}
}

// client is a client of remote control as kombu's Mailbox is one, for the cases that the real one cannot bring about.
type client struct {
	t     testing.TB
	redis *redis.Client
	names Names
	oid   string
}

func newClient(t testing.TB, r *celerytest.Redis) *client {
	t.Helper()
	c := &client{t: t, redis: r.Client(0), names: NewNames(0, nil, "", ""), oid: "0b4c6a1e-oid"}
	c.bind()
	return c
}

func (c *client) bind() {
	c.t.Helper()
	_, key, member := c.names.reply(c.oid)
	if err := c.redis.SAdd(c.t.Context(), key, member).Err(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) unbind() {
	c.t.Helper()
	_, key, member := c.names.reply(c.oid)
	if err := c.redis.SRem(c.t.Context(), key, member).Err(); err != nil {
		c.t.Fatal(err)
	}
}

// send publishes a request with a reply address.
func (c *client) send(method string, arguments any) {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{
		"method": method, "arguments": arguments, "destination": nil, "pattern": nil, "matcher": nil, "ticket": "t-1",
		"reply_to": address{c.names.replyExchange(), c.oid},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	message, err := seal(jsonContent(body), map[string]any{"clock": 5, "expires": 0}, "celery.pidbox", "")
	if err != nil {
		c.t.Fatal(err)
	}
	c.publish(string(message))
}

func (c *client) publish(message string) {
	c.t.Helper()
	if err := c.redis.Publish(c.t.Context(), c.names.requests(), message).Err(); err != nil {
		c.t.Fatal(err)
	}
}

// reply waits for the next reply and returns its body, by node.
func (c *client) reply() map[string]json.RawMessage {
	c.t.Helper()
	list, _, _ := c.names.reply(c.oid)
	raw, err := c.redis.BRPop(c.t.Context(), celerytest.Backstop, list).Result()
	if err != nil {
		c.t.Fatalf("wait for a reply: %v", err)
	}
	return bodyOf[map[string]json.RawMessage](c.t, raw[1])
}

func (c *client) ask(method string, arguments any) map[string]json.RawMessage {
	c.t.Helper()
	c.send(method, arguments)
	return c.reply()
}

// bodyOf decodes the body of a message.
func bodyOf[T any](t testing.TB, raw string) T {
	t.Helper()
	_, c, err := open([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var value T
	if err := json.Unmarshal(c.body, &value); err != nil {
		t.Fatalf("%v: %s", err, c.body)
	}
	return value
}

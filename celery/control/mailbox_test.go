package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestPingIsAnswered(t *testing.T) {
	r := celerytest.StartRedis(t)
	startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	c := newClient(t, r)
	if got := string(c.ask("ping", nil)["w1@host"]); got != `{"ok":"pong"}` {
		t.Errorf("ping: %s", got)
	}
}

func TestSlowCommandsHoldUpNobody(t *testing.T) {
	r := celerytest.StartRedis(t)
	release := make(chan struct{})
	custom := customFunc(func(ctx context.Context, _ string, _ Arguments) (json.RawMessage, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return json.RawMessage(`"at last"`), nil
	})
	startControl(t, testOptions(t, "w1@host", r.URL(0), Node{Custom: custom}))
	c := newClient(t, r)
	for range 2 * maxSlow {
		c.send("custom", nil)
	}
	if got := string(c.ask("ping", nil)["w1@host"]); got != `{"ok":"pong"}` {
		t.Errorf("ping while slow commands run: %s", got)
	}
	close(release)
	for range 2 * maxSlow {
		if got := string(c.reply()["w1@host"]); got != `"at last"` {
			t.Errorf("slow command: %s", got)
		}
	}
}

// customFunc is a Node's area Custom with a single command of the name "custom".
type customFunc func(context.Context, string, Arguments) (json.RawMessage, error)

func (customFunc) Has(method string) bool { return method == "custom" }

func (f customFunc) Call(ctx context.Context, method string, args Arguments) (json.RawMessage, error) {
	return f(ctx, method, args)
}

func TestReplyListsDoNotOutliveTheirReader(t *testing.T) {
	r := celerytest.StartRedis(t)
	startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	c := newClient(t, r)
	list, _, _ := c.names.reply(c.oid)

	t.Run("a reader that died after asking", func(t *testing.T) {
		c.send("ping", nil)
		celerytest.Eventually(t, "the reply", func() bool { return c.redis.Exists(t.Context(), list).Val() == 1 })
		if ttl := c.redis.TTL(t.Context(), list).Val(); ttl <= 0 || ttl > replyMost {
			t.Errorf("time to live of the list of replies: %s", ttl)
		}
		c.reply()
	})
	t.Run("a reader that is gone", func(t *testing.T) {
		c.unbind()
		c.send("ping", nil)
		c.oid = "another"
		c.bind()
		c.ask("ping", nil) // requests are answered in order
		if c.redis.Exists(t.Context(), list).Val() != 0 {
			t.Error("a reply was left for nobody")
		}
	})
	t.Run("a list that is no reply queue", func(t *testing.T) {
		// The address names the binding of the task queue: a reply there would be taken for a task.
		c.redis.SAdd(t.Context(), "_kombu.binding.celery", "celery\x06\x16\x06\x16celery")
		body := `{"method":"ping","ticket":"t","reply_to":{"exchange":"celery","routing_key":"celery"}}`
		c.publish(jsonMessage(t, body))
		c.ask("ping", nil)
		if c.redis.Exists(t.Context(), "celery").Val() != 0 {
			t.Error("a reply was put into the task queue")
		}
	})
}

func jsonMessage(t testing.TB, body string) string {
	t.Helper()
	message, err := seal(jsonContent([]byte(body)), map[string]any{}, "celery.pidbox", "")
	if err != nil {
		t.Fatal(err)
	}
	return string(message)
}

func TestMalformedMessagesAreHarmless(t *testing.T) {
	r := celerytest.StartRedis(t)
	startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	c := newClient(t, r)
	replyTo := fmt.Sprintf(`"ticket":"t","reply_to":{"exchange":"reply.celery.pidbox","routing_key":%q}`, c.oid)
	for name, message := range map[string]string{
		"empty":                     "",
		"not JSON":                  "\x80\x02}q\x00.",
		"a number":                  "42",
		"a list":                    "[]",
		"no body":                   "{}",
		"body is no base64":         `{"body":"%%%","content-type":"application/json","properties":{"body_encoding":"base64"}}`,
		"body of another type":      `{"body":{},"content-type":"application/json"}`,
		"pickle":                    `{"body":"gAJ9cQAu","content-type":"application/x-python-serialize","properties":{"body_encoding":"base64"}}`,
		"compressed":                `{"body":"eJyrVkosSi1RsqoGAA","content-type":"application/json","headers":{"compression":"application/x-gzip"},"properties":{"body_encoding":"base64"}}`,
		"body is null":              jsonMessage(t, `null`),
		"body is a list":            jsonMessage(t, `["ping"]`),
		"no method":                 jsonMessage(t, `{`+replyTo+`}`),
		"method is a number":        jsonMessage(t, `{"method":7,`+replyTo+`}`),
		"arguments are a list":      jsonMessage(t, `{"method":"ping","arguments":[1],`+replyTo+`}`),
		"destination is an object":  jsonMessage(t, `{"method":"ping","destination":{"w1@host":1},`+replyTo+`}`),
		"destination is a number":   jsonMessage(t, `{"method":"ping","destination":7,`+replyTo+`}`),
		"unknown matcher":           jsonMessage(t, `{"method":"ping","pattern":"w1@host","matcher":"sql",`+replyTo+`}`),
		"pattern is a list":         jsonMessage(t, `{"method":"ping","pattern":["w1"],"matcher":"glob",`+replyTo+`}`),
		"reply_to is a string":      jsonMessage(t, `{"method":"ping","reply_to":"me"}`),
		"reply_to names nothing":    jsonMessage(t, `{"method":"ping","reply_to":{}}`),
		"deeply nested":             strings.Repeat("[", 100_000),
		"deeply nested arguments":   jsonMessage(t, `{"method":"ping","arguments":{"a":`+strings.Repeat("[", 20_000)+`}}`),
		"clock is text":             strings.Replace(jsonMessage(t, `{"method":"none"}`), `"headers":{}`, `"headers":{"clock":"x"}`, 1),
		"clock is beyond all times": strings.Replace(jsonMessage(t, `{"method":"none"}`), `"headers":{}`, `"headers":{"clock":9223372036854775807}`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			c.publish(message)
			// Answered in order: a reply to the message itself would come first.
			if got := string(c.ask("ping", nil)["w1@host"]); got != `{"ok":"pong"}` {
				t.Errorf("ping afterwards: %s", got)
			}
			if list, _, _ := c.names.reply(c.oid); c.redis.Exists(t.Context(), list).Val() != 0 {
				t.Errorf("the message was answered: %v", c.reply())
			}
		})
	}
}

func TestErrorsAreAnswered(t *testing.T) {
	r := celerytest.StartRedis(t)
	startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	c := newClient(t, r)
	for name, test := range map[string]struct {
		method    string
		arguments string
		want      string
	}{
		"unknown command":     {"no_such_cmd", `{}`, `KeyError('no_such_cmd')`},
		"missing argument":    {"revoke", `{}`, `TypeError("revoke() missing 1 required positional argument: 'task_id'")`},
		"missing arguments":   {"terminate", `{}`, `TypeError("terminate() missing 2 required positional arguments: 'signal' and 'task_id'")`},
		"unexpected argument": {"report", `{"x":1}`, `TypeError("report() got an unexpected keyword argument 'x'")`},
		"missing area":        {"stats", `{}`, `stats is not available on this node`},
		"wrong type":          {"revoke", `{"task_id":{"a":1}}`, `TypeError('argument \'task_id\' is neither a string nor a list of strings: {"a":1}')`},
		"bad signal":          {"revoke", `{"task_id":"a","terminate":true,"signal":"SIGNOTHING"}`, `AttributeError("module 'signal' has no attribute 'SIGNOTHING'")`},
		"lower-case signal":   {"revoke", `{"task_id":"a","terminate":true,"signal":"term"}`, `TypeError('signal name must be uppercase string.')`},
		"signal as text":      {"revoke", `{"task_id":"a","terminate":true,"signal":"15"}`, `TypeError('signal name must be uppercase string.')`},
		"signal out of range": {"revoke", `{"task_id":"a","terminate":true,"signal":4711}`, `OSError(22, 'Invalid argument')`},
		"debugging":           {"memdump", `{}`, `not available: memdump: tasks run in processes of their own, see stats`},
		"no autoscale":        {"autoscale", `{"max":1}`, `ValueError('Autoscale not enabled')`},
	} {
		t.Run(name, func(t *testing.T) {
			var answer struct{ Error string }
			if err := json.Unmarshal(c.ask(test.method, json.RawMessage(test.arguments))["w1@host"], &answer); err != nil {
				t.Fatal(err)
			}
			if answer.Error != test.want {
				t.Errorf("got  %s\nwant %s", answer.Error, test.want)
			}
		})
	}
}

func TestPatternThatGoDoesNotKnowIsAnswered(t *testing.T) {
	r := celerytest.StartRedis(t)
	startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	c := newClient(t, r)
	c.publish(jsonMessage(t, fmt.Sprintf(`{"method":"ping","pattern":"w(?!2)","matcher":"pcre","ticket":"t",
		"reply_to":{"exchange":"reply.celery.pidbox","routing_key":%q}}`, c.oid)))
	if got := string(c.reply()["w1@host"]); !strings.Contains(got, errPattern.Error()) {
		t.Errorf("answer: %s", got)
	}
}

func TestMailboxIsListedWhileTheNodeRuns(t *testing.T) {
	r := celerytest.StartRedis(t)
	_, stop := runControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	listed := func() bool {
		return r.Client(0).SIsMember(t.Context(), "_kombu.binding.celery.pidbox", "\x06\x16\x06\x16w1@host.celery.pidbox").Val()
	}
	celerytest.Eventually(t, "the node on the list", listed)
	stop()
	if listed() {
		t.Error("the node is still on the list of mailboxes")
	}
}

func TestNamesFollowTheTransportOptions(t *testing.T) {
	transport := map[string]any{"global_keyprefix": "app:", "fanout_prefix": "/{db}.x.", "sep": "|", "fanout_patterns": false}
	r := celerytest.StartRedis(t)
	o := testOptions(t, "w1@host", r.URL(3), Node{})
	o.Names = NewNames(3, transport, "ctl", "ev")
	startControl(t, o)
	c := newClient(t, r)
	c.redis, c.names = r.Client(3), o.Names
	c.bind()
	if got := string(c.ask("ping", nil)["w1@host"]); got != `{"ok":"pong"}` {
		t.Errorf("ping: %s", got)
	}
	if got, want := o.Names.requests(), "app:/3.x.ctl.pidbox"; got != want {
		t.Errorf("channel of requests %q, want %q", got, want)
	}
	if got, want := o.Names.events("worker.online"), "app:/3.x.ev"; got != want {
		t.Errorf("channel of events %q, want %q", got, want)
	}
}

func TestReconnects(t *testing.T) {
	r := celerytest.StartRedis(t)
	p := celerytest.StartProxy(t, r.Addr())
	c := startControl(t, testOptions(t, "w1@host", p.URL(0), Node{}))
	notices := make(chan string, 1)
	if err := c.Subscribe(t.Context(), "agensium:notice", func(s string) { notices <- s }); err != nil {
		t.Fatal(err)
	}
	again := make(chan struct{}, 10)
	c.Connected(func(context.Context) { again <- struct{}{} })
	for _, cut := range []func(){p.CutAll, r.Restart} {
		cut()
		select {
		case <-again:
		case <-time.After(celerytest.Backstop):
			t.Fatal("no new connection")
		}
		k := newClient(t, r)
		if got := string(k.ask("ping", nil)["w1@host"]); got != `{"ok":"pong"}` {
			t.Errorf("ping after the connection was lost: %s", got)
		}
		k.redis.Publish(t.Context(), "agensium:notice", "hello")
		select {
		case s := <-notices:
			if s != "hello" {
				t.Errorf("notice: %q", s)
			}
		case <-time.After(celerytest.Backstop):
			t.Fatal("no notice")
		}
	}
}

func TestStartsBeforeRedisDoes(t *testing.T) {
	r := celerytest.StartRedis(t)
	r.Stop()
	c, err := New(testOptions(t, "w1@host", r.URL(0), Node{}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	r.Start()
	await(t, "the list of revoked tasks to be read", c.Revoked.Loaded())
	k := newClient(t, r)
	celerytest.Eventually(t, "the mailbox to be listed", func() bool {
		return k.redis.Exists(t.Context(), "_kombu.binding.celery.pidbox").Val() == 1
	})
	if got := string(k.ask("ping", nil)["w1@host"]); got != `{"ok":"pong"}` {
		t.Errorf("ping: %s", got)
	}
	cancel()
	await(t, "the control to end", ended)
}

func TestStopsAtAnyTime(t *testing.T) {
	r := celerytest.StartRedis(t)
	o := testOptions(t, "w1@host", r.URL(0), Node{})
	o.Events.Enabled = true
	for i := range 30 {
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		if i%3 == 1 {
			await(t, "the list of revoked tasks to be read", c.Revoked.Loaded())
		}
		cancel()
		await(t, "the control to end", ended)
	}
	if keys := r.Client(0).Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("left in Redis: %q", keys)
	}
}

func TestSilentConnectionIsReplaced(t *testing.T) {
	r := celerytest.StartRedis(t)
	p := celerytest.StartProxy(t, r.Addr())
	c, err := New(testOptions(t, "w1@host", p.URL(0), Node{}))
	if err != nil {
		t.Fatal(err)
	}
	c.listener.keepalive, c.listener.pongWait = 20*time.Millisecond, 100*time.Millisecond
	standing := make(chan struct{}, 100)
	c.Connected(func(context.Context) { standing <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	await(t, "the subscriptions to stand", standing)
	m := r.Monitor()
	celerytest.Eventually(t, "keepalives", func() bool { return m.Counts()["PING"] > 2 })
	p.BlackHole(true)
	celerytest.Eventually(t, "the silent connection to be given up", func() bool {
		c.listener.mu.Lock()
		defer c.listener.mu.Unlock()
		return c.listener.pubsub == nil
	})
	p.BlackHole(false)
	await(t, "the subscriptions to stand anew", standing)
	cancel()
	await(t, "the control to end", ended)
}

func TestNothingIsSentWhileNobodyAsks(t *testing.T) {
	r := celerytest.StartRedis(t)
	startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	k := newClient(t, r)
	k.ask("ping", nil)
	m := r.Monitor()
	k.ask("ping", nil)
	want := map[string]int{"PUBLISH": 1, "BRPOP": 1, "SISMEMBER": 1, "MULTI": 1, "LPUSH": 1, "EXPIRE": 1, "EXEC": 1}
	got := m.Counts()
	for name, n := range got {
		if want[name] != n {
			t.Errorf("%s: %d, want %d", name, n, want[name])
		}
	}
}

func BenchmarkPing(b *testing.B) {
	r := celerytest.StartRedis(b)
	o := testOptions(b, "w1@host", r.URL(0), Node{})
	o.Log.SetLevel(0)
	startControl(b, o)
	c := newClient(b, r)
	for b.Loop() {
		c.ask("ping", nil)
	}
}

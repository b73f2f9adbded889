package broker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

const step = "\x06\x16"

func target(t testing.TB, url string) *redisconn.Target {
	t.Helper()
	to, err := redisconn.Parse(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// start runs a broker until the test ends, unless it is closed before.
func start(t testing.TB, url string, edit ...func(*Options)) *Broker {
	t.Helper()
	o := Options{Target: target(t, url), Node: "w@test", Queues: []string{"celery"}, ResultExpires: time.Hour}
	if testing.Verbose() {
		o.Log = hclog.New(&hclog.LoggerOptions{Name: "broker", Level: hclog.Debug, Output: testWriter{t}})
	}
	for _, f := range edit {
		f(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Run(context.Background()) }()
	for !b.started.Load() {
		runtime.Gosched()
	}
	t.Cleanup(func() {
		b.crash()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// crash ends a broker as a kill would: nothing is written, nothing put back. It is harmless after Close.
func (b *Broker) crash() {
	b.closing.Do(func() {
		b.end()
		b.closeClients()
	})
	<-b.ended
	b.loops.Wait()
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), celerytest.Backstop)
	t.Cleanup(cancel)
	return ctx
}

// message is an envelope as a client sends it.
func message(id string, priority int) string {
	body := base64.StdEncoding.EncodeToString([]byte(`[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]`))
	return fmt.Sprintf(`{"body": %q, "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "t.noop", "id": %q, "retries": 0}, "properties": {"correlation_id": %q, "reply_to": "x", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": %d, "body_encoding": "base64", "delivery_tag": "tag-%s"}}`, body, id, id, priority, id)
}

func push(t testing.TB, c *redis.Client, list string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := c.LPush(bounded(t), list, message(id, 0)).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func idOf(raw []byte) string {
	var m struct {
		Headers struct {
			ID string `json:"id"`
		} `json:"headers"`
	}
	_ = json.Unmarshal(raw, &m)
	return m.Headers.ID
}

func next(t testing.TB, b *Broker, done *Finished) *celery.Delivery {
	t.Helper()
	d, err := b.Next(bounded(t), done)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return d
}

func result(d *celery.Delivery) []celery.Result {
	id := idOf(d.Raw)
	return []celery.Result{{Key: "celery-task-meta-" + id, Document: []byte(`{"status": "SUCCESS", "result": null, "task_id": "` + id + `"}`)}}
}

func acked(d *celery.Delivery) *Finished {
	return &Finished{d, Settlement{Results: result(d), Action: Ack}}
}

// list returns a queue from the consuming end on.
func list(t testing.TB, c *redis.Client, key string) []string {
	t.Helper()
	all, err := c.LRange(bounded(t), key, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(all))
	for i, raw := range all {
		ids[len(all)-1-i] = idOf([]byte(raw))
	}
	return ids
}

func claimKeys(t testing.TB, c *redis.Client) []string {
	t.Helper()
	keys, err := c.Keys(bounded(t), "*agensium:claim:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func closeBroker(t testing.TB, b *Broker) {
	t.Helper()
	if err := b.Close(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

// claimKeysOf is claimKeys for use beside the test's goroutine.
func claimKeysOf(c *redis.Client) []string {
	keys, _ := c.Keys(context.Background(), "*agensium:claim:*").Result()
	return keys
}

func deadID(raw []byte) string {
	var l DeadLetter
	_ = json.Unmarshal(raw, &l)
	return l.TaskID
}

package client_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/celery/redisconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t testing.TB, url string) *client.Client {
	t.Helper()
	target, err := redisconn.Parse(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Broker: target})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestMessagesGoToTheListOfTheirPriority(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	for priority := range 11 {
		if _, err := c.Apply(t.Context(), celery.S("t.x").With(celery.Options{Priority: priority, Queue: "q"})); err != nil {
			t.Fatal(err)
		}
	}
	lengths := map[string]int64{}
	for _, key := range []string{"q", "q\x06\x163", "q\x06\x166", "q\x06\x169"} {
		lengths[key] = r.Client(0).LLen(t.Context(), key).Val()
	}
	if diff := cmp.Diff(map[string]int64{"q": 3, "q\x06\x163": 3, "q\x06\x166": 3, "q\x06\x169": 2}, lengths); diff != "" {
		t.Error(diff)
	}
	if got := r.Client(0).SMembers(t.Context(), "_kombu.binding.q").Val(); !cmp.Equal(got, []string{"q\x06\x16\x06\x16q"}) {
		t.Errorf("binding: %q", got)
	}
}

func store(t *testing.T, r *celerytest.Redis, id, document string) {
	t.Helper()
	c := r.Client(0)
	if err := c.Set(t.Context(), "celery-task-meta-"+id, document, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), "celery-task-meta-"+id, document).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestGetWaitsForThePublication(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	monitor := r.Monitor()
	result, err := c.Send(t.Context(), "t.x")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 3)
	values := make([]map[string]float64, 3)
	for i := range values {
		go func() { got <- result.Get(t.Context(), &values[i]) }()
	}
	celerytest.Eventually(t, "they have subscribed and looked", func() bool { return monitor.Counts()["GET"] >= 1 })
	store(t, r, result.ID(), `{"status": "STARTED", "result": {"pid": 1}, "traceback": null, "children": [], "date_done": null, "task_id": "x"}`)
	store(t, r, result.ID(), `{"status": "SUCCESS", "result": {"a": 1.5}, "traceback": null, "children": [], "date_done": "2026-11-23T02:39:47.410594+00:00", "task_id": "x"}`)
	for range values {
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	if values[0]["a"] != 1.5 || values[2]["a"] != 1.5 {
		t.Errorf("got %v", values)
	}
	if err := result.Get(t.Context(), nil); err != nil {
		t.Errorf("get what is there already: %v", err)
	}
	if err := result.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, err := result.Document(t.Context()); err != nil || d.State != "PENDING" {
		t.Errorf("after forget: %+v, %v", d, err)
	}
}

func TestGetSurvivesALostConnection(t *testing.T) {
	r := celerytest.StartRedis(t)
	proxy := celerytest.StartProxy(t, r.Addr())
	c := newClient(t, proxy.URL(0))
	monitor := r.Monitor()
	result, err := c.Send(t.Context(), "t.x")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	var value int
	go func() { got <- result.Get(t.Context(), &value) }()
	celerytest.Eventually(t, "somebody waits", func() bool { return monitor.Counts()["GET"] >= 1 })
	proxy.Refuse(true)
	proxy.CutAll()
	store(t, r, result.ID(), `{"status": "SUCCESS", "result": 7, "traceback": null, "children": [], "date_done": null, "task_id": "x"}`)
	proxy.Refuse(false)
	if err := <-got; err != nil || value != 7 {
		t.Errorf("got %d, %v", value, err)
	}
}

func TestFailuresAreErrors(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	store(t, r, "x", `{"status": "FAILURE", "result": {"exc_type": "ValueError", "exc_message": ["boom", 42], "exc_module": "builtins"}, "traceback": "tb", "children": [], "date_done": null, "task_id": "x"}`)
	var failure *client.TaskError
	err := c.Result("x").Get(t.Context(), nil)
	if !errors.As(err, &failure) || failure.Traceback != "tb" || err.Error() != "task x ended as FAILURE: ValueError: ('boom', 42)" {
		t.Errorf("got %v", err)
	}
}

func TestAWaitEndsWithItsContextAndWithTheClient(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Result("x").Get(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	got := make(chan error, 1)
	go func() { got <- c.Result("y").Get(t.Context(), nil) }()
	const channel = "celery-task-meta-y"
	redis := r.Client(0)
	celerytest.Eventually(t, "somebody waits", func() bool { return redis.PubSubNumSub(t.Context(), channel).Val()[channel] == 1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, client.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// script revokes a task and sends one from Python, so that its messages and ours can be compared.
const script = `
import os
from celery import Celery
app = Celery('app', broker=os.environ['BROKER'], backend=os.environ['BROKER'])
app.control.revoke('some-id', terminate=True, signal='SIGKILL')
`

func TestRevokeAsPythonDoes(t *testing.T) {
	python := celerytest.Venv(t, "celery-latest")
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(3))
	sub := r.Client(3).Subscribe(t.Context(), "/3.celery.pidbox")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), client.RevokeOptions{Terminate: true, Signal: "SIGKILL"}, "some-id"); err != nil {
		t.Fatal(err)
	}
	celerytest.RunPython(t, python, script, "BROKER="+r.URL(3))
	var bodies []map[string]any
	for range 2 {
		m, err := sub.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, revocation(t, m.Payload))
	}
	if diff := cmp.Diff(bodies[1], bodies[0]); diff != "" {
		t.Errorf("Python (-) and ours (+):\n%s", diff)
	}
}

// revocation reads a request to revoke, with its properties.
func revocation(t *testing.T, payload string) map[string]any {
	t.Helper()
	var envelope struct {
		Body       string         `json:"body"`
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal([]byte(payload), &envelope); err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(envelope.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	delete(envelope.Properties, "delivery_tag")
	body["properties"] = envelope.Properties
	return body
}

func TestTasksOfATaskAreItsChildren(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	request := &celery.Request{Task: &celery.Task{ID: "parent", RootID: "root", GroupIndex: -1}}
	ctx := celery.WithRequest(t.Context(), request)
	child, err := c.Send(ctx, "t.x")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := r.Client(0).LIndex(t.Context(), "celery", 0).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	task, err := celery.Decode(raw, nil)
	if err != nil || task.ParentID != "parent" || task.RootID != "root" {
		t.Errorf("got %+v, %v", task, err)
	}
	d := celery.Documents{}
	if doc := string(d.Of(request, celery.StateSuccess, pyjson.Raw("1"), "").Document); !strings.Contains(doc, `"children": [[["`+child.ID()+`", null], null]]`) {
		t.Errorf("got %s", doc)
	}
}

func TestWhatCouldNotBeSentIsNoChild(t *testing.T) {
	c := newClient(t, fmt.Sprintf("redis://127.0.0.1:%d/0", celerytest.FreePort(t)))
	request := &celery.Request{Task: &celery.Task{ID: "parent", GroupIndex: -1}}
	if _, err := c.Send(celery.WithRequest(t.Context(), request), "t.x"); err == nil {
		t.Fatal("sent to nobody")
	}
	if children := request.Children(); len(children) > 0 {
		t.Errorf("got %+v", children[0])
	}
}

func BenchmarkSendInPipeline(b *testing.B) {
	r := celerytest.StartRedis(b)
	c := newClient(b, r.URL(0))
	ctx := b.Context()
	batch := c.Batch(ctx)
	began := time.Now()
	for b.Loop() {
		if _, err := batch.Send("t.add", 1, 2); err != nil {
			b.Fatal(err)
		}
		if batch.Len() == 500 {
			if err := batch.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := batch.Flush(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "tasks/s")
}

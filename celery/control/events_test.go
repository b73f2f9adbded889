package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// reader listens to events as Flower does.
type reader struct {
	t        testing.TB
	messages <-chan *redis.Message
}

func listenEvents(t testing.TB, r *celerytest.Redis) *reader {
	t.Helper()
	s := r.Client(0).PSubscribe(t.Context(), "/0.celeryev/*")
	if _, err := s.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	messages, ended := make(chan *redis.Message, 2*maxEvents), make(chan struct{})
	t.Cleanup(func() {
		_ = s.Close()
		await(t, "the reader of events to end", ended)
	})
	go func() {
		defer close(ended)
		for {
			m, err := s.ReceiveMessage(context.Background())
			if err != nil {
				return
			}
			messages <- m
		}
	}()
	return &reader{t, messages}
}

// next returns the next message's channel and events.
func (r *reader) next() (channel string, events []map[string]any) {
	r.t.Helper()
	select {
	case m := <-r.messages:
		if strings.HasSuffix(m.Channel, "/task.multi") {
			return m.Channel, bodyOf[[]map[string]any](r.t, m.Payload)
		}
		return m.Channel, []map[string]any{bodyOf[map[string]any](r.t, m.Payload)}
	case <-time.After(celerytest.Backstop):
		r.t.Fatal("no event came")
		return "", nil
	}
}

// until collects events up to one of the kind, which is the last.
func (r *reader) until(kind string) []map[string]any {
	r.t.Helper()
	var all []map[string]any
	for {
		_, events := r.next()
		all = append(all, events...)
		if last := all[len(all)-1]; last["type"] == kind {
			return all
		}
	}
}

func sampleTask() *celery.Task {
	return &celery.Task{ID: "id-1", Name: "proj.add", RootID: "root-1", ArgsRepr: "(1, 'ä')", KwargsRepr: "{}",
		ETA: time.Date(2027, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}
}

func TestEventsOfATask(t *testing.T) {
	r := celerytest.StartRedis(t)
	o := testOptions(t, "w1@host", r.URL(0), Node{})
	o.Events = EventOptions{Enabled: true, Every: time.Hour, Version: "5.7.0", Load: func() (int, int) { return 2, 7 }}
	in := listenEvents(t, r)
	c, stop := runControl(t, o)
	channel, online := in.next()
	if channel != "/0.celeryev/worker.online" {
		t.Errorf("channel of the first event: %s", channel)
	}
	want := map[string]any{"active": 2.0, "processed": 7.0, "freq": 3600.0, "sw_ident": "py-celery", "sw_ver": "5.7.0"}
	for k, v := range want {
		if online[0][k] != v {
			t.Errorf("worker-online: %s is %v, want %v", k, online[0][k], v)
		}
	}
	e := c.Events
	e.TaskReceived(sampleTask())
	e.TaskStarted("id-1")
	e.TaskSucceeded("id-1", "3", 1500*time.Millisecond)
	e.TaskFailed("id-2", "NotRegistered('x')", "")
	e.TaskFailed("id-3", "ValueError('boom')", "Traceback …")
	e.TaskRetried("id-4", "KeyError('x')", "Traceback …")
	e.TaskRevoked("id-5", true, 15, false)
	e.TaskRevoked("id-6", false, 0, true)
	e.TaskRejected("id-7", true)
	got := in.until("task-rejected")
	for i, clock := 0, 0.0; i < len(got); i++ {
		if now := got[i]["clock"].(float64); now <= clock {
			t.Errorf("clock %v after %v", now, clock)
		} else {
			clock = now
		}
		for _, k := range []string{"hostname", "pid", "utcoffset", "timestamp", "clock"} {
			if _, ok := got[i][k]; !ok {
				t.Errorf("%v without %s", got[i]["type"], k)
			}
			delete(got[i], k)
		}
	}
	expected := []map[string]any{
		{"type": "task-received", "uuid": "id-1", "name": "proj.add", "args": "(1, 'ä')", "kwargs": "{}", "root_id": "root-1",
			"parent_id": nil, "retries": 0.0, "eta": "2027-01-02T03:04:05+01:00", "expires": nil},
		{"type": "task-started", "uuid": "id-1"},
		{"type": "task-succeeded", "uuid": "id-1", "result": "3", "runtime": 1.5},
		{"type": "task-failed", "uuid": "id-2", "exception": "NotRegistered('x')"},
		{"type": "task-failed", "uuid": "id-3", "exception": "ValueError('boom')", "traceback": "Traceback …"},
		{"type": "task-retried", "uuid": "id-4", "exception": "KeyError('x')", "traceback": "Traceback …"},
		{"type": "task-revoked", "uuid": "id-5", "terminated": true, "signum": 15.0, "expired": false},
		{"type": "task-revoked", "uuid": "id-6", "terminated": false, "signum": nil, "expired": true},
		{"type": "task-rejected", "uuid": "id-7", "requeue": true},
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("expected (-) and got (+):\n%s", diff)
	}
	e.Send("task-progress", map[string]any{"uuid": "id-1", "step": 1})
	if channel, _ := in.next(); channel != "/0.celeryev/task.progress" {
		t.Errorf("channel of a custom event: %s", channel)
	}
	stop()
	if last := in.until("worker-offline"); len(last) != 1 {
		t.Errorf("at the end: %v", last)
	}
}

// TestRecordedEvents compares the keys and types of our events with those of a real worker, and the envelopes.
func TestRecordedEvents(t *testing.T) {
	type message struct {
		Channel string
		Raw     string
		Body    json.RawMessage `json:"body_decoded"`
	}
	r := celerytest.StartRedis(t)
	o := testOptions(t, "w1@fixturehost", r.URL(0), Node{})
	o.Events = EventOptions{Enabled: true, Every: 2 * time.Second, Version: "5.6.2"}
	in := listenEvents(t, r)
	c, stop := runControl(t, o)
	c.Events.TaskReceived(sampleTask())
	c.Events.TaskStarted("id-1")
	c.Events.TaskSucceeded("id-1", "3", time.Second)
	ours := map[string]map[string]any{}
	envelopes := map[string]string{}
	collect := func(kind string) {
		for done := false; !done; {
			m := <-in.messages
			events := []map[string]any{}
			if strings.HasSuffix(m.Channel, "task.multi") {
				events = bodyOf[[]map[string]any](t, m.Payload)
			} else {
				events = append(events, bodyOf[map[string]any](t, m.Payload))
			}
			for _, e := range events {
				ours[e["type"].(string)] = e
				done = done || e["type"] == kind
			}
			envelopes[m.Channel] = m.Payload
		}
	}
	collect("task-succeeded")
	collect("worker-heartbeat")
	stop()
	collect("worker-offline")

	for _, version := range []string{"5.6.2", "5.2.6"} {
		seen := 0
		for _, name := range []string{"worker_lifecycle_events", "events_batched"} {
			var messages []message
			celerytest.Load(t, version, name).Member("events", &messages)
			for _, e := range messages {
				if !strings.HasPrefix(e.Channel, "/0.celeryev/") {
					continue
				}
				if e.Raw != "" {
					sameEnvelopeOfEvent(t, envelopes[e.Channel], e.Raw)
				}
				var events []map[string]any
				if json.Unmarshal(e.Body, &events) != nil {
					events = append(events, nil)
					if err := json.Unmarshal(e.Body, &events[0]); err != nil {
						t.Fatal(err)
					}
				}
				for _, theirs := range events {
					seen++
					if diff := cmp.Diff(types(theirs), types(ours[theirs["type"].(string)])); diff != "" {
						t.Errorf("%s: theirs (-) and ours (+):\n%s", theirs["type"], diff)
					}
				}
			}
		}
		if seen < 10 {
			t.Errorf("%s: only %d events were compared", version, seen)
		}
	}
}

// types are the kinds of an event's values, those that may be null left out.
func types(event map[string]any) map[string]string {
	m := map[string]string{}
	for k, v := range event {
		m[k] = fmt.Sprint(reflect.TypeOf(v))
		if k == "eta" || k == "expires" || k == "parent_id" {
			m[k] = "maybe"
		}
	}
	return m
}

func sameEnvelopeOfEvent(t *testing.T, ours, theirs string) {
	t.Helper()
	read := func(text string) (m map[string]any) {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		delete(m, "body")
		delete(m["properties"].(map[string]any), "delivery_tag")
		return m
	}
	if diff := cmp.Diff(read(theirs), read(ours)); diff != "" {
		t.Errorf("envelope, theirs (-) and ours (+):\n%s", diff)
	}
}

// Without heartbeats nothing says when to expect one; they can be switched on and off while it runs.
func TestHeartbeatsCanBeLeftOut(t *testing.T) {
	r := celerytest.StartRedis(t)
	o := testOptions(t, "w1@host", r.URL(0), Node{})
	o.Events = EventOptions{Enabled: true}
	in := listenEvents(t, r)
	c, stop := runControl(t, o)
	defer stop()
	if channel, online := in.next(); channel != "/0.celeryev/worker.online" || online[0]["freq"] != nil {
		t.Errorf("first %s: %v", channel, online)
	}
	c.Events.TaskStarted("id-1")
	if channel, _ := in.next(); channel != "/0.celeryev/task.multi" {
		t.Errorf("without heartbeats came %s", channel)
	}
	c.Events.Configure(true, time.Millisecond)
	if beat := in.until("worker-heartbeat"); beat[len(beat)-1]["freq"] != 0.001 {
		t.Errorf("heartbeat: %v", beat)
	}
	c.Events.Configure(true, 0)
	for _, id := range []string{"id-2", "id-3"} { // one that was under way may still come after the first
		c.Events.TaskStarted(id)
		in.until("task-started")
	}
	c.Events.TaskStarted("id-4")
	if channel, _ := in.next(); channel != "/0.celeryev/task.multi" {
		t.Errorf("after they were switched off came %s", channel)
	}
}

func TestEventsAreOffUntilEnabled(t *testing.T) {
	r := celerytest.StartRedis(t)
	o := testOptions(t, "w1@host", r.URL(0), Node{})
	o.Events.Every = 10 * time.Millisecond
	c := startControl(t, o)
	k := newClient(t, r)
	k.ask("ping", nil)
	m := r.Monitor()
	c.Events.TaskReceived(sampleTask())
	c.Events.Send("task-progress", nil)
	if got := string(k.ask("disable_events", nil)["w1@host"]); got != `{"ok":"task events already disabled"}` {
		t.Errorf("disable_events: %s", got)
	}
	if n := m.Counts()["PUBLISH"]; n != 1 { // the request
		t.Errorf("%d messages published with events off, want 1", n)
	}
	in := listenEvents(t, r)
	k.ask("enable_events", nil)
	in.until("worker-heartbeat")
	c.Events.TaskStarted("id-1")
	in.until("task-started")
	k.ask("disable_events", nil)
	c.Events.TaskStarted("id-2")
	k.ask("heartbeat", nil)
	for _, e := range in.until("worker-heartbeat") {
		if e["uuid"] == "id-2" {
			t.Error("an event was sent after disable_events")
		}
	}
}

func TestEventsTravelInLists(t *testing.T) {
	r := celerytest.StartRedis(t)
	o := testOptions(t, "w1@host", r.URL(0), Node{})
	o.Events = EventOptions{Enabled: true, Every: time.Hour}
	in := listenEvents(t, r)
	c := startControl(t, o)
	in.until("worker-online")
	const n = 1000
	for i := range n {
		c.Events.TaskStarted(fmt.Sprint(i))
	}
	messages := 0
	for i := 0; i < n; messages++ {
		_, events := in.next()
		if len(events) > eventBatch {
			t.Errorf("%d events in one message", len(events))
		}
		for _, e := range events {
			if e["uuid"] != fmt.Sprint(i) {
				t.Fatalf("event %d is of task %v", i, e["uuid"])
			}
			i++
		}
	}
	if least := int(math.Ceil(n / eventBatch)); messages > 2*least {
		t.Errorf("%d messages for %d events, want about %d", messages, n, least)
	}
}

func TestEventsWaitForRedis(t *testing.T) {
	r := celerytest.StartRedis(t)
	p := celerytest.StartProxy(t, r.Addr())
	o := testOptions(t, "w1@host", p.URL(0), Node{})
	o.Events = EventOptions{Enabled: true, Every: time.Hour}
	in := listenEvents(t, r)
	c := startControl(t, o)
	in.until("worker-online")
	p.Refuse(true)
	p.CutAll()
	for i := range 100 {
		c.Events.TaskStarted(fmt.Sprint(i))
	}
	c.Events.TaskRejected("last", false)
	p.Refuse(false)
	seen := map[any]bool{}
	for _, e := range in.until("task-rejected") { // worker-online may come again, if the cut took the reply to it
		seen[e["uuid"]] = true
	}
	delete(seen, nil)
	if len(seen) != 101 {
		t.Errorf("events of %d tasks came, want 101", len(seen))
	}
}

func TestWaitingEventsAreBounded(t *testing.T) {
	e := newEvents("w1@host", EventOptions{Enabled: true}, Names{}, &link{closed: true}, new(Clock), hclog.NewNullLogger())
	const extra = 500
	add := func() {
		for i := range maxEvents/2 + extra {
			e.TaskStarted(fmt.Sprint(i))
		}
	}
	check := func(when string) {
		t.Helper()
		size := 0
		for _, one := range e.waiting {
			size += len(one.body)
		}
		if len(e.waiting) > maxEvents || size != e.bytes {
			t.Errorf("%s %d events wait, %d bytes counted as %d", when, len(e.waiting), size, e.bytes)
		}
	}
	add()
	if err := e.flush(t.Context()); !errors.Is(err, errLinkClosed) {
		t.Fatalf("flush: %v", err)
	}
	check("after a failed flush")
	add()
	check("after too many")
	if e.dropped != 2*extra || strings.Contains(string(e.waiting[0].body), `"uuid":"0"`) {
		t.Errorf("%d dropped, want %d; the oldest is %s", e.dropped, 2*extra, e.waiting[0].body)
	}
	e.TaskFailed("big", strings.Repeat("x", maxEventBytes), "")
	check("after a large one")
	if len(e.waiting) != 1 {
		t.Errorf("%d events wait beside one that is as large as all may be", len(e.waiting)-1)
	}
}

func TestUTCOffset(t *testing.T) {
	for name, test := range map[string]struct{ east, want int }{
		"UTC": {0, 0}, "east": {3600, -1}, "west": {-5 * 3600, 5}, "half an hour east": {5*3600 + 1800, -6}, "half an hour west": {-3*3600 - 1800, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := utcOffset(time.Now().In(time.FixedZone("", test.east))); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func BenchmarkEvent(b *testing.B) {
	e := newEventEncoder("w1@host")
	fields := []field{{"uuid", "5aeb2746-7606-4fb8-a495-7a8c1b9b4546"}, {"result", "3"}, {"runtime", 0.25}}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.encode("task-succeeded", now, 1, fields); err != nil {
			b.Fatal(err)
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// event is one of a task, or of a worker.
type event map[string]any

func (e event) text(key string) string { s, _ := e[key].(string); return s }

// eventsOf are those of tasks in a message, of which most hold several.
func eventsOf(body []byte) []event {
	var many []event
	if json.Unmarshal(body, &many) == nil {
		return many
	}
	var one event
	_ = json.Unmarshal(body, &one) // what is no event is empty
	return []event{one}
}

// ears gather the events of a node.
type ears struct {
	mu    sync.Mutex
	tasks map[string][]event
}

// listen gathers from now until the test ends.
func (s *site) listen() *ears {
	s.t.Helper()
	e := &ears{tasks: map[string][]event{}}
	sub := s.broker().PSubscribe(s.t.Context(), "/0.celeryev/task.*")
	if _, err := sub.Receive(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for m := range sub.Channel(redis.WithChannelSize(10_000)) {
			body, err := celery.Body([]byte(m.Payload))
			if err != nil {
				s.t.Errorf("event %q: %v", m.Payload, err)
			}
			e.mu.Lock()
			for _, one := range eventsOf(body) {
				e.tasks[one.text("uuid")] = append(e.tasks[one.text("uuid")], one)
			}
			e.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() { _ = sub.Close(); <-gone })
	return e
}

// of are the events of a task, by kind, without what cannot be the same.
func (e *ears) of(id string) map[string][]event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return byKind(e.tasks[id])
}

// number is how many events there are of all kinds.
func number(kinds map[string][]event) (n int) {
	for _, some := range kinds {
		n += len(some)
	}
	return n
}

func byKind(events []event) map[string][]event {
	kinds := map[string][]event{}
	for _, e := range events {
		plain := event{}
		for key, value := range e {
			switch key {
			case "clock", "timestamp", "pid", "runtime", "utcoffset", "local_received":
				value = fmt.Sprintf("%T", value)
			case "traceback", "eta", "expires", "root_id", "parent_id": // of a chord's body they are those of the part that ended last
				value = value != nil
			case "exception", "result", "args", "kwargs":
				if s, ok := value.(string); ok {
					value = changing.ReplaceAllString(s, "N")
				}
			}
			plain[key] = value
		}
		kinds[e.text("type")] = append(kinds[e.text("type")], plain)
	}
	return kinds
}

// eventsMeant are recordings from which our events differ on purpose.
var eventsMeant = map[string]string{
	"rejected":     "Celery says nothing of a rejected task that is acknowledged early: it looks as if it ran for ever",
	"protocol1":    "Celery does not tell the arguments",
	"memory_error": "Celery loses the event",
	"worker_lost":  "Celery tells a placeholder in place of the exception", "worker_lost_late": "as above", "time_limit": "as above",
	"time_limit_header": "as above", "sysexit": "as above",
}

// sameEvents compares the events of the tasks that clients sent with those that were recorded of a real worker.
func sameEvents(t *testing.T, fixtures map[string]*celerytest.Fixture, sent string, e *ears) {
	t.Helper()
	compared := 0
	for name, f := range fixtures {
		if slices.Contains(aboutWorkers, name) || eventsMeant[name] != "" {
			continue
		}
		for id, want := range recordedEvents(f) {
			if !strings.Contains(sent, id) {
				continue
			}
			compared++
			var diff string
			func() {
				defer func() {
					if diff != "" {
						t.Errorf("%s: events recorded (-) and now (+):\n%s", name, diff)
					}
				}()
				celerytest.Eventually(t, "the events of "+name, func() bool {
					got := e.of(id)
					diff = cmp.Diff(byKind(want), got)
					return diff == "" || number(got) >= len(want)
				})
			}()
		}
	}
	if compared < 50 {
		t.Errorf("the events of %d tasks only were compared", compared)
	}
}

func recordedEvents(f *celerytest.Fixture) map[string][]event {
	var all []struct {
		Body json.RawMessage `json:"body_decoded"`
	}
	f.Member("events", &all)
	tasks := map[string][]event{}
	for _, message := range all {
		for _, one := range eventsOf(message.Body) {
			if kind := one.text("type"); strings.HasPrefix(kind, "task-") && kind != "task-sent" {
				tasks[one.text("uuid")] = append(tasks[one.text("uuid")], one)
			}
		}
	}
	return tasks
}

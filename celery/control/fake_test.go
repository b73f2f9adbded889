package control

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agensium/agensium/celery"
)

// fakeNode is a Node with a state that a test sets. It remembers what it was asked to do.
type fakeNode struct {
	active, reserved, parked []Request
	tasks                    []RegisteredTask
	conf                     json.RawMessage
	report                   string
	statistics               Statistics
	autoscaled               bool

	mu     sync.Mutex
	queues []Queue
	did    []string
	signal syscall.Signal
}

func (f *fakeNode) node() Node {
	return Node{
		Requests: f, Parked: f, Revoker: f, Limits: f, Pool: f, Autoscaler: f, Consumers: f, Registry: f,
		Settings: f, Statistics: f, Lifecycle: f,
	}
}

func (f *fakeNode) record(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, what)
}

func (f *fakeNode) recorded() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.did)
}

func (f *fakeNode) Active() []Request   { return f.active }
func (f *fakeNode) Reserved() []Request { return f.reserved }

func (f *fakeNode) Parked(_ context.Context, most int) ([]Request, error) {
	return f.parked[:min(most, len(f.parked))], nil
}

func (f *fakeNode) Revoked(_ context.Context, ids []string) error {
	for _, id := range ids {
		f.record("revoked " + id)
	}
	return nil
}

func (f *fakeNode) Terminate(_ context.Context, ids []string, signal syscall.Signal) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signal = signal
	var held []string
	for _, r := range slices.Concat(f.active, f.reserved) {
		if slices.Contains(ids, r.Task.ID) {
			held = append(held, r.Task.ID)
		}
	}
	return held
}

func (f *fakeNode) known(task string) error {
	if !slices.ContainsFunc(f.tasks, func(t RegisteredTask) bool { return t.Name == task }) {
		return ErrUnknownTask
	}
	return nil
}

func (f *fakeNode) RateLimit(task, text string, _ float64) error {
	f.record("rate " + task + " " + text)
	return f.known(task)
}

func (f *fakeNode) TimeLimits(task string, soft, hard time.Duration) error {
	f.record("limits " + task + " " + soft.String() + " " + hard.String())
	return f.known(task)
}

func (f *fakeNode) Grow(int) error {
	f.record("grow")
	if f.autoscaled {
		return ErrAutoscaled
	}
	return nil
}

func (f *fakeNode) Shrink(int) error {
	f.record("shrink")
	if f.autoscaled {
		return ErrAutoscaled
	}
	return nil
}

func (f *fakeNode) Restart(context.Context) error { f.record("restart"); return nil }

func (f *fakeNode) Autoscale(most, least *int) (int, int, error) {
	if !f.autoscaled {
		return 0, 0, ErrNoAutoscale
	}
	f.record("autoscale")
	newMost, newLeast := 4, 1
	if most != nil {
		newMost = *most
	}
	if least != nil {
		newLeast = *least
	}
	return newMost, newLeast, nil
}

func (f *fakeNode) Queues() []Queue {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.queues)
}

func (f *fakeNode) AddConsumer(_ context.Context, q Queue) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues = append(f.queues, q)
	return nil
}

func (f *fakeNode) CancelConsumer(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues = slices.DeleteFunc(f.queues, func(q Queue) bool { return q.Name == name })
	return nil
}

func (f *fakeNode) Registered(context.Context, []string) ([]RegisteredTask, error) {
	return f.tasks, nil
}
func (f *fakeNode) Conf(context.Context, bool) (json.RawMessage, error) { return f.conf, nil }
func (f *fakeNode) Report(context.Context) (string, error)              { return f.report, nil }
func (f *fakeNode) Statistics() Statistics                              { return f.statistics }
func (f *fakeNode) Shutdown(reason string)                              { f.record("shutdown " + reason) }

// heldRequest is a request as a node would hold it, made from what inspect shows of one.
func heldRequest(t testing.TB, info requestInfo) Request {
	t.Helper()
	body, err := json.Marshal([]any{info.Args, info.Kwargs, map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := seal(jsonContent(body), map[string]any{"id": info.ID, "task": info.Type}, info.DeliveryInfo.Exchange, info.DeliveryInfo.RoutingKey)
	if err != nil {
		t.Fatal(err)
	}
	r := Request{
		Task: &celery.Task{
			ID: info.ID, Name: info.Type, Raw: raw, ContentType: "application/json", GroupIndex: -1, Protocol: 2,
			Exchange: info.DeliveryInfo.Exchange, RoutingKey: info.DeliveryInfo.RoutingKey, Priority: info.DeliveryInfo.Priority,
		},
		Acknowledged: info.Acknowledged,
	}
	if info.TimeStart != nil {
		r.Started = time.UnixMicro(int64(*info.TimeStart*1e6 + 0.5))
	}
	if info.WorkerPID != nil {
		r.PID = *info.WorkerPID
	}
	return r
}

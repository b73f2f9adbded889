package supervisor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/control"
	"github.com/agensium/agensium/pool"
)

// controlled lets Celery's remote control look at this node and steer it. Each area is a type of its own, so that what a
// command may touch can be seen.
func (s *Supervisor) controlled() control.Node {
	return control.Node{
		Requests: nodeRequests{s}, Revoker: nodeRevoker{s}, Consumers: nodeConsumers{s}, Registry: nodeRegistry{s},
		Statistics: nodeStatistics{s}, Lifecycle: nodeLifecycle{s},
	}
}

type nodeRequests struct{ *Supervisor }

func (n nodeRequests) Active() []control.Request {
	running := n.pool.Running()
	requests := make([]control.Request, 0, len(running))
	for _, r := range running {
		if r.Job.Verdict == nil {
			requests = append(requests, control.Request{Task: r.Job.Task, Started: r.Started, PID: r.PID, Acknowledged: !n.acksLate(r.Job)})
		}
	}
	return requests
}

// Reserved is always empty: a message is claimed only when a slot is free for it.
func (n nodeRequests) Reserved() []control.Request { return nil }

func (s *Supervisor) acksLate(job pool.Job) bool {
	o, _ := s.current.Load().known(job.Task.Name)
	return o.AcksLate
}

type nodeRevoker struct{ *Supervisor }

// Revoked does nothing: REVOKED is recorded when the message comes up, by whoever claims it.
func (n nodeRevoker) Revoked(context.Context, []string) error { return nil }

// terminated is why a job is killed that somebody asked to terminate.
type terminated struct{ signal syscall.Signal }

func (t terminated) Error() string {
	return "terminated by remote control with " + signalName(int(t.signal))
}
func (t terminated) LossCause() celery.LossCause { return celery.LossTerminated }

func (n nodeRevoker) Terminate(_ context.Context, ids []string, signal syscall.Signal) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !n.pool.Terminate(id, terminated{signal}) })
}

type nodeConsumers struct{ *Supervisor }

func (n nodeConsumers) Queues() []control.Queue {
	now := n.current.Load()
	var queues []control.Queue
	for _, name := range n.consumed.list() {
		q := control.Queue{Name: name}
		if known, ok := now.info.Settings.Queues[name]; ok {
			q.Exchange, q.ExchangeType, q.RoutingKey = known.Exchange, known.ExchangeType, known.RoutingKey
		}
		queues = append(queues, q)
	}
	return queues
}

func (n nodeConsumers) AddConsumer(ctx context.Context, q control.Queue) error {
	if err := n.broker.AddQueue(ctx, q.Name); err != nil {
		return err
	}
	n.consumed.add(q.Name)
	n.log.Info("queue added", "queue", q.Name, "reason", "remote control")
	return nil
}

func (n nodeConsumers) CancelConsumer(_ context.Context, name string) error {
	n.broker.RemoveQueue(name)
	n.consumed.remove(name)
	n.log.Info("queue left", "queue", name, "reason", "remote control")
	return nil
}

type nodeRegistry struct{ *Supervisor }

func (n nodeRegistry) Registered(context.Context, []string) ([]control.RegisteredTask, error) {
	now := n.current.Load()
	tasks := make([]control.RegisteredTask, 0, len(now.tasks))
	for name, o := range now.tasks {
		t := control.RegisteredTask{Name: name, Attributes: map[string]string{}}
		if o.RateLimit != "" {
			t.Attributes["rate_limit"] = o.RateLimit
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

type nodeStatistics struct{ *Supervisor }

func (n nodeStatistics) Statistics() control.Statistics {
	c := n.current.Load().Config
	status := n.pool.Status()
	stats := control.Statistics{
		Total: n.tally.totals(), PID: os.Getpid(), Uptime: time.Since(n.begun), MaxConcurrency: c.Pool.Concurrency,
		MaxTasks: c.Pool.MaxTasksPerChild, SoftLimit: c.Tasks.SoftTimeLimit, HardLimit: c.Tasks.TimeLimit, Prefetch: len(status.Slots),
	}
	for _, slot := range status.Slots {
		if slot.PID != 0 {
			stats.Processes = append(stats.Processes, control.Process{PID: slot.PID, Busy: slot.State == pool.Busy})
		}
	}
	return stats
}

type nodeLifecycle struct{ *Supervisor }

func (n nodeLifecycle) Shutdown(reason string) {
	n.stopping.begin(fmt.Sprintf("remote control: %s", reason))
}

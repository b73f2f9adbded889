package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/control"
	"github.com/agensium/agensium/pool"
)

// controlled lets Celery's remote control look at this node and steer it. Each area is a type of its own, so that what a
// command may touch can be seen.
func (s *Supervisor) controlled() control.Node {
	return control.Node{
		Requests: nodeRequests{s}, Parked: nodeParked{s}, Revoker: nodeRevoker{s}, Limits: nodeLimits{s}, Pool: nodePool{s},
		Autoscaler: nodeAutoscaler{s}, Consumers: nodeConsumers{s}, Registry: nodeRegistry{s}, Settings: nodeSettings{s},
		Statistics: nodeStatistics{s}, Lifecycle: nodeLifecycle{s}, Custom: nodeCustom{s},
		Serializers: nodeSerializers{s},
	}
}

type nodeRequests struct{ *Supervisor }

func (n nodeRequests) Active() []control.Request {
	running := n.pool.Running()
	requests := make([]control.Request, 0, len(running))
	for _, r := range running {
		if r.Job.Verdict == nil {
			requests = append(requests, control.Request{Task: r.Job.Task, Started: r.Started, PID: r.PID(), Acknowledged: !n.acksLate(r.Job)})
		}
	}
	return requests
}

// Reserved is always empty: a message is claimed only when a slot is free for it.
func (n nodeRequests) Reserved() []control.Request { return nil }

type nodeParked struct{ *Supervisor }

// Parked shows those that wait for their turn under a rate limit with the time of their turn.
func (n nodeParked) Parked(ctx context.Context, most int) ([]control.Request, error) {
	parked, err := n.broker.Parked(ctx, most)
	if err != nil {
		return nil, err
	}
	requests := make([]control.Request, 0, len(parked))
	for _, p := range parked {
		t, err := celery.Decode(p.Message, time.UTC)
		if err != nil {
			continue // it is met when it is due
		}
		if t.ETA.Before(p.Until) {
			t.ETA = p.Until.UTC()
		}
		requests = append(requests, control.Request{Task: t})
	}
	return requests, nil
}

func (s *Supervisor) acksLate(job pool.Job) bool {
	o, _ := s.current.Load().known(job.Task.Name)
	return o.AcksLate
}

type nodeConsumers struct{ *Supervisor }

func (n nodeConsumers) Queues() []control.Queue {
	now := n.current.Load()
	var queues []control.Queue
	for _, name := range n.consumed.list() {
		q := n.consumed.bound(name)
		if known, ok := now.info.Settings.Queues[name]; ok {
			q.Exchange, q.ExchangeType, q.RoutingKey = known.Exchange, known.ExchangeType, known.RoutingKey
		}
		queues = append(queues, q)
	}
	return queues
}

func (n nodeConsumers) AddConsumer(ctx context.Context, q control.Queue) error {
	n.consumed.bind(q)
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

type nodeLifecycle struct{ *Supervisor }

func (n nodeLifecycle) Shutdown(reason string) {
	n.stopping.begin(fmt.Sprintf("remote control: %s", reason))
}

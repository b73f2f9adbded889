package supervisor

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/supervisor/admin"
	"github.com/agensium/agensium/supervisor/config"
)

// Status is a node as it is now: what /status and `agensium status` show. It holds nothing secret: no arguments, no results,
// no passwords. Fields may be added; what a field means does not change. Durations are in seconds.
type Status struct {
	Node        string        `json:"node"`
	Version     string        `json:"version"`
	PID         int           `json:"pid"`
	Started     time.Time     `json:"started"`
	Uptime      float64       `json:"uptime_s"`
	Phase       string        `json:"phase"` // starting, consuming, resting, draining
	Detail      string        `json:"detail"`
	Live        Health        `json:"live"`
	Ready       Health        `json:"ready"`
	Drain       *DrainStatus  `json:"drain,omitempty"`
	Application *Application  `json:"application,omitempty"` // nil while it is imported
	Broker      *BrokerStatus `json:"broker,omitempty"`
	Slots       *SlotsStatus  `json:"slots,omitempty"`
	Queues      []QueueStatus `json:"queues"`
	Parked      *int64        `json:"parked,omitempty"`       // tasks of all nodes that wait for their ETA; nil: not known
	DeadLetters *int64        `json:"dead_letters,omitempty"` // of all nodes; nil: not known
	Tasks       TaskCounts    `json:"tasks"`
	Reload      ReloadStatus  `json:"reload"`
	Settings    string        `json:"settings,omitempty"` // the file that they are from
	Directory   string        `json:"directory"`          // that it works in
	Nodes       []NodeStatus  `json:"nodes"`              // on this Redis, this one included
	Problems    []string      `json:"problems,omitempty"` // why something is not known
}

// Health is an answer of /livez or /readyz.
type Health struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason"`
}

// DrainStatus tells of the end of the node.
type DrainStatus struct {
	Reason    string  `json:"reason"`
	Remaining float64 `json:"remaining_s"` // until running tasks are put back
	Running   int     `json:"running"`
}

// Application is what was imported.
type Application struct {
	Name   string `json:"name"`
	App    string `json:"app"`
	Python string `json:"python"`
	Celery string `json:"celery"`
	Tasks  int    `json:"tasks"`
}

// BrokerStatus is the broker's own with where it is.
type BrokerStatus struct {
	URL     string `json:"url"` // without its password
	Results string `json:"results,omitempty"`
	broker.Status
	LeaseAge float64 `json:"lease_age"`
	LeaseTTL float64 `json:"lease_ttl"`
}

// SlotsStatus are the slots, and why there are so many.
type SlotsStatus struct {
	States    map[string]int `json:"states"`
	Target    int            `json:"target"`
	Max       int            `json:"max"`
	Bound     string         `json:"bound,omitempty"`
	Reason    string         `json:"reason"`
	Decisions []Decision     `json:"decisions"` // the last ones, the newest last
	Memory    int64          `json:"memory"`    // bytes of all children, shared pages counted once
	Overrun   int            `json:"overrun"`   // Go handlers that were given up and still run; each holds a slot
	Slots     []SlotStatus   `json:"slots"`
}

// SlotStatus is one slot.
type SlotStatus struct {
	ID     int         `json:"id"`
	State  string      `json:"state"`
	Since  time.Time   `json:"since"`
	PID    int         `json:"pid,omitempty"`
	Task   *TaskStatus `json:"task,omitempty"`
	Memory int64       `json:"memory,omitempty"` // resident bytes
	// A Go handler that was given up still runs and holds it.
	Overrun bool `json:"overrun,omitempty"`
}

// TaskStatus is a task in progress.
type TaskStatus struct {
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Queue   string  `json:"queue"`
	Runtime float64 `json:"runtime_s"`
}

// QueueStatus is what waits in one queue.
type QueueStatus struct {
	Name   string  `json:"name"`
	Due    int64   `json:"due"`
	Oldest float64 `json:"oldest_s"` // about how long the oldest has waited

	Running int `json:"running"`          // slots of this node that it has
	Min     int `json:"min,omitempty"`    // slots of this node that are kept for it
	Weight  int `json:"weight,omitempty"` // its part of the others; 0: the queues are not weighed
}

// TaskCounts are the tasks of this node since its start.
type TaskCounts struct {
	Begun       int    `json:"begun"`
	Running     int    `json:"running"`
	Redelivered uint64 `json:"redelivered"`
}

// NodeStatus is a node of the registry.
type NodeStatus struct {
	Node    string    `json:"node"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Queues  []string  `json:"queues"`
	Alive   bool      `json:"alive"`
}

// NodesStatus words the registry for a status.
func NodesStatus(nodes []broker.Node) []NodeStatus {
	all := make([]NodeStatus, 0, len(nodes))
	for _, n := range nodes {
		all = append(all, NodeStatus{n.Node, n.Host, n.PID, n.Version, n.Started, n.Queues, n.Lease > 0})
	}
	return all
}

// Status asks Redis for what lies there, at most every glanceEvery.
func (s *Supervisor) Status(ctx context.Context) any {
	m := s.life.now()
	out := &Status{
		Node: s.node, Version: s.o.Version, PID: os.Getpid(), Started: s.begun, Uptime: seconds(time.Since(s.begun)),
		Phase: m.phase, Detail: m.detail, Queues: []QueueStatus{}, Nodes: []NodeStatus{}, Reload: s.reloads.status(), Directory: absolute("."),
	}
	if s.loaded.Load().Path != "" {
		out.Settings = absolute(s.loaded.Load().Path)
	}
	out.Live.OK, out.Live.Reason = s.Live()
	out.Ready.OK, out.Ready.Reason = s.Ready()
	out.Tasks.Running, out.Tasks.Begun = s.tally.load()
	out.Tasks.Redelivered = s.tally.redelivered.Load()
	if m.phase == draining {
		out.Drain = &DrainStatus{Reason: m.detail, Remaining: seconds(max(0, time.Until(m.ends))), Running: out.Tasks.Running}
	}
	now := s.current.Load()
	if now == nil {
		return out
	}
	out.Application = &Application{Name: now.info.App, App: now.Config.Python.App, Python: now.info.Python, Celery: now.info.Celery, Tasks: len(now.tasks)}
	r := s.running()
	if r.broker == nil {
		return out
	}
	out.Broker = s.brokerStatus(now, r.broker)
	saw := s.look(ctx, glanceEvery, true)
	for _, q := range saw.queues {
		out.Queues = append(out.Queues, s.queueStatus(now.Config.Scaling.Queues, q))
	}
	if saw.contents != nil {
		out.Parked, out.DeadLetters = &saw.contents.Parked, &saw.contents.Dead
	}
	nodes := slices.Clone(saw.nodes)
	for i := range nodes {
		if nodes[i].ID == out.Broker.Incarnation { // the registry keeps the queues that were left: claims may still be called after them
			nodes[i].Queues = s.consumed.list()
		}
	}
	out.Nodes = NodesStatus(nodes)
	if saw.err != nil {
		out.Problems = append(out.Problems, redisconn.Mask(saw.err.Error()))
	}
	out.Slots = s.slotsStatus(now, r.pool.Status())
	if saw.memory != nil {
		out.Slots.Memory = saw.memory.Children
	}
	return out
}

func (s *Supervisor) queueStatus(shares map[string]config.QueueScaling, q admin.Queue) QueueStatus {
	out := QueueStatus{Name: q.Name, Due: q.Due, Oldest: seconds(q.Oldest), Running: s.estimates.ours([]string{q.Name})[q.Name].Busy}
	if len(shares) > 0 {
		out.Min, out.Weight = shares[q.Name].Min, max(1, shares[q.Name].Weight)
	}
	return out
}

func (s *Supervisor) brokerStatus(now *settings, b *broker.Broker) *BrokerStatus {
	st := b.Status()
	out := &BrokerStatus{
		URL: redisconn.Mask(now.Config.Broker.URL), Results: redisconn.Mask(now.Config.Results.URL), Status: st,
		LeaseAge: seconds(st.LeaseAge), LeaseTTL: seconds(st.LeaseTTL),
	}
	out.Condition, out.Status.Results = masked(st.Condition), masked(st.Results)
	if s.embedded != nil {
		out.URL, out.Results = s.embedded.url, s.embedded.url
	}
	return out
}

func masked(c *broker.Condition) *broker.Condition {
	if c == nil {
		return nil
	}
	safe := *c
	safe.Error = redisconn.Mask(safe.Error)
	return &safe
}

func (s *Supervisor) slotsStatus(now *settings, st pool.Status) *SlotsStatus {
	last := s.decisions.last()
	out := &SlotsStatus{
		States: states(st), Target: st.Target, Max: s.concurrency(), Bound: string(last.Bound), Reason: last.Reason,
		Decisions: s.decisions.list(), Overrun: s.overdue.Running(), Slots: make([]SlotStatus, 0, len(st.Slots)),
	}
	for _, slot := range st.Slots {
		one := SlotStatus{ID: slot.ID, State: slot.State.String(), Since: slot.Since, PID: slot.PID, Overrun: s.overdue.Holds(slot.ID)}
		if slot.PID != 0 {
			one.Memory = resident(slot.PID)
		}
		if r := slot.Running; r != nil {
			one.Task = &TaskStatus{ID: r.Job.Task.ID, Name: r.Job.Task.Name, Queue: r.Job.Delivery.Queue, Runtime: seconds(time.Since(r.Started))}
		}
		out.Slots = append(out.Slots, one)
	}
	return out
}

// resident is 0 if the process is gone.
func resident(pid int) int64 {
	n, _ := child.ResidentOf(pid)
	return n
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

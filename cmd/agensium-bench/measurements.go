package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
)

// figures are what one run of a measurement found, by figure key.
type figures map[string]float64

func (f figures) String() string {
	parts := make([]string, 0, len(f))
	for key, value := range f {
		parts = append(parts, key+"="+format(value))
	}
	sort.Strings(parts)
	return strings.Join(parts, " ")
}

// figure is a row of the table.
type figure struct {
	key, title string
	more       bool // more is better
	goal       goal
}

// goal is what agensium has to reach. The zero value is none.
type goal struct {
	times float64 // as many times better than the first worker
	bound float64 // at most, in the figure's unit
	zero  bool    // none at all
}

// measurement starts a worker, has it do something and returns what that took.
type measurement struct {
	name, about string
	once        bool // one run is enough
	figures     []figure
	measure     func(context.Context, *bench, command) (figures, error)
}

var measurements = []measurement{
	{
		name: "throughput", about: "no-op with stored result, preloaded queue, concurrency 4",
		figures: []figure{
			{key: "tasks_4", title: "no-op, concurrency 4, tasks/s", more: true, goal: goal{times: 8}},
			{key: "cpu_4", title: "CPU s per 1,000 tasks", goal: goal{bound: 0.22}},
			{key: "commands_4", title: "Redis commands per task", goal: goal{bound: 4.1}},
			{key: "connections_4", title: "connections after work"},
		},
		measure: throughput(4),
	},
	{
		name: "single", about: "the same at concurrency 1",
		figures: []figure{
			{key: "tasks_1", title: "no-op, concurrency 1, tasks/s", more: true, goal: goal{times: 3.5}},
			{key: "cpu_1", title: "CPU s per 1,000 tasks, concurrency 1"},
			{key: "commands_1", title: "Redis commands per task, concurrency 1"},
		},
		measure: throughput(1),
	},
	{
		name: "latency", about: "publish → result published, one task at a time on an idle worker",
		figures: []figure{
			{key: "latency_p50", title: "latency p50, ms", goal: goal{bound: 1.2}},
			{key: "latency_p95", title: "latency p95, ms"},
			{key: "latency_p99", title: "latency p99, ms", goal: goal{bound: 3}},
			{key: "latency_commands", title: "Redis commands per lone task"},
		},
		measure: latency,
	},
	{
		name: "ping", about: "remote control: publish of a ping → reply, 1,000 times while all slots are busy",
		figures: []figure{
			{key: "ping_p50", title: "inspect ping, all slots busy, p50, ms", goal: goal{bound: 5}},
			{key: "ping_p99", title: "inspect ping, all slots busy, p99, ms", goal: goal{bound: 5}},
		},
		measure: ping,
	},
	{
		name: "start", about: "start → first result, application that imports at once",
		figures: []figure{
			{key: "start_light", title: "start → first result, light app, s", goal: goal{bound: 0.6}},
			{key: "start_quiet", title: "the same without mingle and gossip, s"},
		},
		measure: startLight,
	},
	{
		name: "start2s", about: "start → first result, application that takes 2 s to import",
		figures: []figure{{key: "start_heavy", title: "start → first result, 2 s import, s", goal: goal{bound: 2.8}}},
		measure: startHeavy,
	},
	{
		name: "memory", about: "application that holds 80 MB, 8 children: PSS of the tree idle and after 500 tasks each",
		figures: []figure{
			{key: "pss_idle", title: "PSS of the tree idle, MB"},
			{key: "pss_worked", title: "PSS of the tree after work, MB", goal: goal{bound: 220}},
			{key: "processes", title: "processes then"},
		},
		measure: memory,
	},
	{
		name: "grow", about: "--autoscale=8,1 and a task that sleeps in each child: publish → result of one more (80 MB)",
		figures: []figure{{key: "grow", title: "children busy, room for more: publish → result, ms"}},
		measure: grow,
	},
	{
		name: "autoscale", about: "--autoscale=16,1, idle at one child: 200 tasks of 0.2 s at once",
		figures: []figure{
			{key: "scaled", title: "200 × 0.2 s onto one idle child: until 16 run, s", goal: goal{bound: 0.25}},
			{key: "drained", title: "until all are done, times the ideal", goal: goal{bound: 1.1}},
			{key: "shrunk", title: "after the last one until there is one child again, no task stopped, s"},
		},
		measure: scale,
	},
	{
		name: "replace", about: "a fresh child for each task (--max-tasks-per-child=1, concurrency 1, 80 MB)",
		figures: []figure{{key: "replace", title: "further child: a fresh one for each task, ms per task", goal: goal{bound: 25}}},
		measure: replace,
	},
	{
		name: "killed", about: "kill -9 of a child whose task is acks_late and reject_on_worker_lost → it runs again",
		figures: []figure{{key: "killed", title: "kill -9 of a child → its task runs again, s", goal: goal{bound: 0.1}}},
		measure: killed,
	},
	{
		name: "eta", about: "1,000 tasks with an ETA, 20 ms apart, on an idle worker: how late they begin", once: true,
		figures: []figure{
			{key: "eta_p50", title: "ETA error p50, ms", goal: goal{bound: 5}},
			{key: "eta_p99", title: "ETA error p99, ms", goal: goal{bound: 25}},
		},
		measure: eta,
	},
	{
		name: "parked", about: "100,000 tasks for tomorrow: what they cost the main process", once: true,
		figures: []figure{
			{key: "parked_rss", title: "100,000 tasks for tomorrow: main process grows by, MB", goal: goal{bound: 10}},
			{key: "parked_rate", title: "tasks parked per second", more: true},
		},
		measure: parkedTasks,
	},
	{
		name: "recover", about: "kill -9 of a whole worker with 8 tasks in progress → all run again: on a second one, and on the same restarted", once: true,
		figures: []figure{
			{key: "recover_peer", title: "kill -9 of the worker → 8 tasks run on another, s", goal: goal{bound: 40}},
			{key: "recover_restart", title: "the same worker restarted → 8 tasks run, s", goal: goal{bound: 1.5}},
		},
		measure: recoverTasks,
	},
	{
		name: "term", about: "TERM with 4 tasks of 2 s in progress and 100 in the queue, then another worker: what was lost, what ran twice", once: true,
		figures: []figure{
			{key: "term_lost", title: "TERM, 4 × 2 s in progress, 100 queued: lost", goal: goal{zero: true}},
			{key: "term_doubled", title: "run twice", goal: goal{zero: true}},
			{key: "term_took", title: "TERM → its end, s"},
		},
		measure: terminated,
	},
	{
		name: "idle", about: "one queue, concurrency 4, nothing to do", once: true,
		figures: []figure{
			{key: "idle_commands", title: "Redis commands per idle minute", goal: goal{bound: 3}},
			{key: "idle_connections", title: "connections, idle", goal: goal{bound: 7}},
			{key: "idle_cpu", title: "CPU ms per idle minute"},
			{key: "idle_pss", title: "PSS of the tree, light app, MB"},
		},
		measure: idle,
	},
}

// ready has the worker run a few tasks, so that it is warm and all its children are up.
func (b *bench) ready(ctx context.Context, w *worker, concurrency int) error {
	if err := b.through(ctx, w, "bench.wait", 2*concurrency, []any{0.1}); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	return b.through(ctx, w, "bench.noop", 50*concurrency, nil)
}

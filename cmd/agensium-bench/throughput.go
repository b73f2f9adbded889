package main

import (
	"context"
	"time"
)

// throughput measures a worker that finds a full queue: the clock runs from the moment at which the queue is there until the last
// result is seen.
func throughput(concurrency int) func(context.Context, *bench, command) (figures, error) {
	suffix := map[int]string{1: "_1", 4: "_4"}[concurrency]
	return func(ctx context.Context, b *bench, c command) (figures, error) {
		w, err := b.start(ctx, c, load{concurrency: concurrency})
		defer func() { b.stop(w) }()
		if err != nil {
			return nil, err
		}
		if err := b.ready(ctx, w, concurrency); err != nil {
			return nil, err
		}
		cpuBefore, err := w.cpu()
		if err != nil {
			return nil, err
		}
		before, err := b.server.commands(ctx)
		if err != nil {
			return nil, err
		}
		ids, at, err := b.push(ctx, "bench.noop", b.tasks, nil)
		if err != nil {
			return nil, err
		}
		if err := b.await(ctx, w, ids); err != nil {
			return nil, err
		}
		took := time.Since(at)
		// The last acknowledgements may still be on their way.
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
		cpuAfter, err := w.cpu()
		if err != nil {
			return nil, err
		}
		after, err := b.server.commands(ctx)
		if err != nil {
			return nil, err
		}
		connections, err := b.server.connections(ctx)
		if err != nil {
			return nil, err
		}
		tasks := float64(b.tasks)
		found := figures{
			"tasks" + suffix:    tasks / took.Seconds(),
			"cpu" + suffix:      (cpuAfter - cpuBefore).Seconds() / tasks * 1000,
			"commands" + suffix: float64(after.since(before).total()) / tasks,
		}
		if concurrency == 4 {
			found["connections"+suffix] = connections
		}
		return found, nil
	}
}

// idle watches a worker that has worked and has nothing to do.
func idle(ctx context.Context, b *bench, c command) (figures, error) {
	w, err := b.start(ctx, c, load{concurrency: 4})
	defer func() { b.stop(w) }()
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx, w, 4); err != nil {
		return nil, err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	cpuBefore, err := w.cpu()
	if err != nil {
		return nil, err
	}
	before, err := b.server.commands(ctx)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, b.idle); err != nil {
		return nil, err
	}
	after, err := b.server.commands(ctx)
	if err != nil {
		return nil, err
	}
	cpuAfter, err := w.cpu()
	if err != nil {
		return nil, err
	}
	connections, err := b.server.connections(ctx)
	if err != nil {
		return nil, err
	}
	bytes, _, err := w.memory()
	if err != nil {
		return nil, err
	}
	minutes := b.idle.Minutes()
	return figures{
		"idle_commands":    float64(after.since(before).total()) / minutes,
		"idle_connections": connections,
		"idle_cpu":         float64((cpuAfter - cpuBefore).Milliseconds()) / minutes,
		"idle_pss":         float64(bytes) / 1e6,
	}, nil
}

package main

import (
	"context"
	"time"
)

const (
	lone    = 300                   // tasks sent one at a time
	loneGap = 20 * time.Millisecond // between a result and the next task, so that the worker is idle
)

// latency sends one task at a time and takes the time from before the LPUSH until its result is published.
func latency(ctx context.Context, b *bench, c command) (figures, error) {
	w, err := b.start(ctx, c, load{concurrency: 4})
	defer func() { b.stop(w) }()
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx, w, 4); err != nil {
		return nil, err
	}
	tasks, sub, err := b.listen(ctx, "bench.noop", lone, nil)
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	before, err := b.server.commands(ctx)
	if err != nil {
		return nil, err
	}
	took := make([]float64, 0, lone)
	for _, task := range tasks {
		if err := pause(ctx, loneGap); err != nil {
			return nil, err
		}
		at := time.Now()
		if err := b.send(ctx, task); err != nil {
			return nil, err
		}
		if err := b.result(ctx, sub, task); err != nil {
			return nil, err
		}
		took = append(took, time.Since(at).Seconds()*1000)
	}
	if err := pause(ctx, loneGap); err != nil {
		return nil, err
	}
	after, err := b.server.commands(ctx)
	if err != nil {
		return nil, err
	}
	return figures{
		"latency_p50":      percentile(took, 50),
		"latency_p95":      percentile(took, 95),
		"latency_p99":      percentile(took, 99),
		"latency_commands": float64(after.since(before).total()) / lone,
	}, nil
}

// startLight and startHeavy launch a worker whose queue holds a task and wait for its result.
func startLight(ctx context.Context, b *bench, c command) (figures, error) {
	plain, err := b.firstResult(ctx, c, load{concurrency: 4})
	if err != nil {
		return nil, err
	}
	quiet, err := b.firstResult(ctx, c, load{concurrency: 4, options: []string{"--without-mingle", "--without-gossip"}})
	return figures{"start_light": plain, "start_quiet": quiet}, err
}

func startHeavy(ctx context.Context, b *bench, c command) (figures, error) {
	took, err := b.firstResult(ctx, c, load{concurrency: 4, env: []string{"BENCH_IMPORT_SECONDS=2"}})
	return figures{"start_heavy": took}, err
}

func (b *bench) firstResult(ctx context.Context, c command, l load) (seconds float64, err error) {
	tasks, sub, err := b.listen(ctx, "bench.noop", 1, nil)
	if err != nil {
		return 0, err
	}
	defer sub.Close()
	if err := b.send(ctx, tasks[0]); err != nil {
		return 0, err
	}
	w, err := b.start(ctx, c, l)
	defer func() { b.stop(w) }()
	if err != nil {
		return 0, err
	}
	if err := b.result(ctx, sub, tasks[0]); err != nil {
		return 0, err
	}
	return time.Since(w.began).Seconds(), nil
}

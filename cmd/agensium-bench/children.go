package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// fat makes the application hold 80 MB after import.
var fat = []string{"BENCH_MEMORY_MB=80"}

// memory reads the tree's proportional set size with eight children, before and after each has done its share of work.
func memory(ctx context.Context, b *bench, c command) (figures, error) {
	const children, each = 8, 500
	w, err := b.start(ctx, c, load{concurrency: children, env: fat})
	defer func() { b.stop(w) }()
	if err != nil {
		return nil, err
	}
	// Tasks that take a while bring up all the children, but leave their memory as it is.
	if err := b.through(ctx, w, "bench.wait", 2*children, []any{0.2}); err != nil {
		return nil, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	before, _, err := w.memory()
	if err != nil {
		return nil, err
	}
	if err := b.through(ctx, w, "bench.allocate", children*each, nil); err != nil {
		return nil, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	after, n, err := w.memory()
	return figures{"pss_idle": float64(before) / 1e6, "pss_worked": float64(after) / 1e6, "processes": float64(n)}, err
}

// grow keeps as many children busy as there are tasks that sleep, and sends one more task: how long until its result is there. A
// worker that keeps a child in reserve need not start one; replace shows what a start takes.
func grow(ctx context.Context, b *bench, c command) (figures, error) {
	const most = 6
	w, err := b.start(ctx, c, load{concurrency: 8, env: fat, options: []string{"--autoscale=8,1"}})
	defer func() { w.kill() }() // its children sleep
	if err != nil {
		return nil, err
	}
	if err := b.through(ctx, w, "bench.noop", 1, nil); err != nil {
		return nil, err
	}
	tasks, sub, err := b.listen(ctx, "bench.noop", most, nil)
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	var took []float64
	for _, task := range tasks {
		// This occupies the child that is free: the first, later the one that has just answered.
		if _, _, err := b.push(ctx, "bench.wait", 1, []any{120}); err != nil {
			return nil, err
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
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
	return figures{"grow": percentile(took, 50)}, nil
}

// replace has a worker start a fresh child for each task.
func replace(ctx context.Context, b *bench, c command) (figures, error) {
	const tasks = 8 // Celery looks for ended children every few seconds
	w, err := b.start(ctx, c, load{concurrency: 1, env: fat, options: []string{"--max-tasks-per-child=1"}})
	defer func() { b.stop(w) }()
	if err != nil {
		return nil, err
	}
	if err := b.through(ctx, w, "bench.noop", 2, nil); err != nil {
		return nil, err
	}
	ids, at, err := b.push(ctx, "bench.noop", tasks, nil)
	if err != nil {
		return nil, err
	}
	if err := b.await(ctx, w, ids); err != nil {
		return nil, err
	}
	return figures{"replace": time.Since(at).Seconds() * 1000 / tasks}, nil
}

// killed kills the child that runs a task, with SIGKILL, and takes the time until the task runs again. The task writes down when
// and where it runs.
func killed(ctx context.Context, b *bench, c command) (figures, error) {
	const kills = 3
	w, err := b.start(ctx, c, load{concurrency: 2})
	defer func() { b.stop(w) }()
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx, w, 2); err != nil {
		return nil, err
	}
	var took []float64
	for i := range kills {
		path := filepath.Join(b.dir, fmt.Sprintf("stamp-%d-%d", w.cmd.Process.Pid, i))
		ids, _, err := b.push(ctx, "bench.stamp", 1, []any{path})
		if err != nil {
			return nil, err
		}
		first, err := awaitStamp(ctx, w, path, 1)
		if err != nil {
			return nil, err
		}
		at := time.Now()
		if err := syscall.Kill(first.pid, syscall.SIGKILL); err != nil {
			return nil, fmt.Errorf("kill the child %d: %w", first.pid, err)
		}
		second, err := awaitStamp(ctx, w, path, 2)
		if err != nil {
			return nil, err
		}
		took = append(took, second.at.Sub(at).Seconds())
		if err := b.await(ctx, w, ids); err != nil {
			return nil, err
		}
	}
	return figures{"killed": percentile(took, 50)}, nil
}

// stamp is a line that bench.stamp wrote.
type stamp struct {
	pid int
	at  time.Time
}

// awaitStamp waits for the nth line.
func awaitStamp(ctx context.Context, w *worker, path string, nth int) (stamp, error) {
	for {
		if stamps, err := readStamps(path); err != nil {
			return stamp{}, err
		} else if len(stamps) >= nth {
			return stamps[nth-1], nil
		}
		if err := w.alive(); err != nil {
			return stamp{}, err
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return stamp{}, fmt.Errorf("wait for run %d of the task: %w", nth, err)
		}
	}
}

func readStamps(path string) ([]stamp, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var stamps []stamp
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var s stamp
		var nanoseconds int64
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &s.pid, &nanoseconds); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		s.at = time.Unix(0, nanoseconds)
		stamps = append(stamps, s)
	}
	return stamps, nil
}

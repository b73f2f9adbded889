package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	etaTasks  = 1000
	etaEvery  = 20 * time.Millisecond
	etaAhead  = 10 * time.Second // time to send them and to park them
	parked    = 100_000
	inHand    = 8
	tooLong   = time.Minute // to wait for the tasks of a dead worker
	stateName = "STATE_DIRECTORY="
)

// scheduled makes the message of a task that is due at a time.
func (m message) scheduled(args []any, due time.Time) (raw string, err error) {
	_, raw, err = m.copy(args)
	if err != nil {
		return "", err
	}
	with := strings.Replace(raw, `"eta": null`, `"eta": "`+due.UTC().Format("2006-01-02T15:04:05.000000-07:00")+`"`, 1)
	if with == raw {
		return "", fmt.Errorf("the message has no empty eta: %s", raw)
	}
	return with, nil
}

// schedule sends n tasks that are due one after the other.
func (b *bench) schedule(ctx context.Context, task string, n int, first time.Time, every time.Duration, args func(due time.Time) []any) error {
	var batch []any
	for i := range n {
		due := first.Add(time.Duration(i) * every)
		raw, err := b.messages[task].scheduled(args(due), due)
		if err != nil {
			return err
		}
		if batch = append(batch, raw); len(batch) == pushBatch || i == n-1 {
			if err := b.server.client.LPush(ctx, queue, batch...).Err(); err != nil {
				return fmt.Errorf("send scheduled tasks: %w", err)
			}
			batch = batch[:0]
		}
	}
	return nil
}

// eta sends tasks for times that lie apart, and takes how late each begins on a worker that is idle otherwise.
func eta(ctx context.Context, b *bench, c command) (figures, error) {
	w, err := b.start(ctx, c, load{concurrency: 4})
	defer func() { b.stop(w) }()
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx, w, 4); err != nil {
		return nil, err
	}
	path := filepath.Join(b.dir, fmt.Sprintf("late-%d", w.cmd.Process.Pid))
	err = b.schedule(ctx, "bench.late", etaTasks, time.Now().Add(etaAhead), etaEvery, func(due time.Time) []any { return []any{path, due.UnixMicro()} })
	if err != nil {
		return nil, err
	}
	for {
		late, err := readNumbers(path)
		if err != nil {
			return nil, err
		}
		if len(late) >= etaTasks {
			if len(late) > etaTasks {
				return nil, fmt.Errorf("%d runs of %d tasks", len(late), etaTasks)
			}
			return figures{"eta_p50": percentile(late, 50), "eta_p99": percentile(late, 99)}, nil
		}
		if err := w.alive(); err != nil {
			return nil, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, fmt.Errorf("wait for %d of %d scheduled tasks: %w", etaTasks-len(late), etaTasks, err)
		}
	}
}

func readNumbers(path string) ([]float64, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []float64
	for lines := bufio.NewScanner(file); lines.Scan(); {
		f, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, f)
	}
	return all, nil
}

// parkedTasks takes what tasks for tomorrow cost the worker's main process, once they are all out of the queue.
func parkedTasks(ctx context.Context, b *bench, c command) (figures, error) {
	w, err := b.start(ctx, c, load{concurrency: 4})
	defer func() { b.stop(w) }()
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx, w, 4); err != nil {
		return nil, err
	}
	before, err := resident(w.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := b.schedule(ctx, "bench.noop", parked, time.Now().Add(24*time.Hour), 0, func(time.Time) []any { return nil }); err != nil {
		return nil, err
	}
	for {
		left, err := b.server.client.LLen(ctx, queue).Result()
		if err != nil {
			return nil, fmt.Errorf("look at the queue: %w", err)
		}
		if left == 0 {
			break
		}
		if err := w.alive(); err != nil {
			return nil, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, fmt.Errorf("wait for %d tasks to be parked: %w", left, err)
		}
	}
	took := time.Since(began)
	if err := pause(ctx, time.Second); err != nil { // what was claimed last
		return nil, err
	}
	after, err := resident(w.cmd.Process.Pid)
	return figures{"parked_rss": after - before, "parked_rate": parked / took.Seconds()}, err
}

// resident is what a process holds in memory now, MB.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return kib * 1024 / 1e6, err
}

// recoverTasks kills a whole worker with tasks in progress and takes how long it is until all run again: on another worker that was there
// before, as on another host, and on the same one, from its start.
func recoverTasks(ctx context.Context, b *bench, c command) (figures, error) {
	peer, err := b.recovery(ctx, c, true)
	if err != nil {
		return nil, err
	}
	if err := b.server.client.FlushAll(ctx).Err(); err != nil {
		return nil, fmt.Errorf("empty Redis: %w", err)
	}
	restart, err := b.recovery(ctx, c, false)
	found := figures{"recover_peer": peer, "recover_restart": restart}
	maps.DeleteFunc(found, func(_ string, seconds float64) bool { return math.IsNaN(seconds) })
	return found, err
}

// recovery returns NaN if the tasks are not taken up within tooLong: stock Celery waits for its visibility timeout, an hour.
func (b *bench) recovery(ctx context.Context, c command, peer bool) (float64, error) {
	here := load{concurrency: inHand, options: []string{"-n", "first@bench"}, env: []string{stateName + filepath.Join(b.dir, "here")}}
	// Celery's first worker would take what is sent to see whether the second is there, and keep it behind what it has in hand.
	const besides = "second"
	there := load{concurrency: inHand, options: []string{"-n", "second@bench", "-Q", queue + "," + besides}, env: []string{stateName + filepath.Join(b.dir, "there")}}
	first, err := b.start(ctx, c, here)
	defer func() { first.kill() }()
	if err != nil {
		return 0, err
	}
	if err := b.ready(ctx, first, inHand); err != nil {
		return 0, err
	}
	paths := make([]string, inHand)
	for i := range paths {
		paths[i] = filepath.Join(b.dir, fmt.Sprintf("hand-%d-%d", first.cmd.Process.Pid, i))
		_, raw, err := b.messages["bench.stamp"].copy([]any{paths[i]})
		if err != nil {
			return 0, err
		}
		if err := b.server.client.LPush(ctx, queue, raw).Err(); err != nil {
			return 0, fmt.Errorf("send a task: %w", err)
		}
	}
	for _, path := range paths {
		if _, err := awaitStamp(ctx, first, path, 1); err != nil {
			return 0, err
		}
	}
	var second *worker
	if peer {
		if second, err = b.start(ctx, c, there); err != nil {
			return 0, err
		}
		defer func() { b.stop(second) }()
		id, raw, err := b.messages["bench.noop"].copy(nil)
		if err != nil {
			return 0, err
		}
		if err := b.server.client.LPush(ctx, besides, raw).Err(); err != nil {
			return 0, fmt.Errorf("send a task: %w", err)
		}
		if err := b.stored(ctx, second, id); err != nil {
			return 0, err
		}
	}
	at := time.Now()
	first.kill()
	if !peer {
		if second, err = b.start(ctx, c, here); err != nil {
			return 0, err
		}
		defer func() { b.stop(second) }()
		at = second.began
	}
	bounded, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	for _, path := range paths {
		if _, err := awaitStamp(bounded, second, path, 2); err != nil {
			if bounded.Err() != nil && ctx.Err() == nil {
				return math.NaN(), nil
			}
			return 0, err
		}
	}
	return time.Since(at).Seconds(), nil
}

// stored waits for the result of one task.
func (b *bench) stored(ctx context.Context, w *worker, id string) error {
	for {
		n, err := b.server.client.Exists(ctx, resultPrefix+id).Result()
		if err != nil || n == 1 {
			return err
		}
		if err := w.alive(); err != nil {
			return err
		}
		if err := pause(ctx, pollEvery); err != nil {
			return fmt.Errorf("wait for the result of a task: %w", err)
		}
	}
}

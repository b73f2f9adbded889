package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// scale fills the queue of a worker that is idle with one child, and takes the time until all the children that it may have run at
// once, until everything is done, and until there is one child again. A task that was stopped on the way would have no result.
func scale(ctx context.Context, b *bench, c command) (figures, error) {
	const (
		tasks, children = 200, 16
		each            = 200 * time.Millisecond
	)
	w, err := b.start(ctx, c, load{concurrency: children, options: []string{fmt.Sprintf("--autoscale=%d,1", children)}})
	defer func() { b.stop(w) }()
	if err != nil {
		return nil, err
	}
	if err := b.through(ctx, w, "bench.noop", 1, nil); err != nil {
		return nil, err
	}
	if err := b.server.client.FlushDB(ctx).Err(); err != nil { // await counts keys
		return nil, err
	}
	least, err := processes(w.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	ids, at, err := b.push(ctx, "bench.span", tasks, []any{each.Seconds()})
	if err != nil {
		return nil, err
	}
	if err := b.await(ctx, w, ids); err != nil {
		return nil, err
	}
	spans, err := b.spans(ctx, ids)
	if err != nil {
		return nil, err
	}
	full, err := whenAtOnce(spans, children)
	if err != nil {
		return nil, err
	}
	var last int64
	for _, s := range spans {
		last = max(last, s[1])
	}
	if err := b.shrunk(ctx, w, len(least)); err != nil {
		return nil, err
	}
	back := time.Since(time.Unix(0, last))
	ideal := each * tasks / children
	return figures{
		"scaled":  time.Unix(0, full).Sub(at).Seconds(),
		"drained": float64(time.Unix(0, last).Sub(at)) / float64(ideal),
		"shrunk":  back.Seconds(),
	}, nil
}

// shrunk returns when the worker has no more than so many processes.
func (b *bench) shrunk(ctx context.Context, w *worker, most int) error {
	for {
		tree, err := processes(w.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if len(tree) <= most {
			return nil
		}
		if err := w.alive(); err != nil {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("wait for %d processes to become %d: %w", len(tree), most, err)
		}
	}
}

// span is when a task began and ended, in nanoseconds of Unix time.
type span [2]int64

// spans reads what tasks returned.
func (b *bench) spans(ctx context.Context, ids []string) ([]span, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = resultPrefix + id
	}
	documents, err := b.server.client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	spans := make([]span, len(ids))
	for i, d := range documents {
		text, _ := d.(string)
		var result struct{ Result span }
		if err := json.Unmarshal([]byte(text), &result); err != nil {
			return nil, fmt.Errorf("read the result of %s: %w", ids[i], err)
		}
		spans[i] = result.Result
	}
	return spans, nil
}

// whenAtOnce is when for the first time n of them had begun and not ended.
func whenAtOnce(spans []span, n int) (int64, error) {
	type step struct {
		at   int64
		more int
	}
	steps := make([]step, 0, 2*len(spans))
	for _, s := range spans {
		steps = append(steps, step{s[0], 1}, step{s[1], -1})
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Or(cmp.Compare(a.at, b.at), a.more-b.more) })
	running, most := 0, 0
	for _, s := range steps {
		running += s.more
		most = max(most, running)
		if running == n {
			return s.at, nil
		}
	}
	return 0, fmt.Errorf("never %d tasks at once, at most %d", n, most)
}

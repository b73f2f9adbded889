package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// terminated ends a worker by TERM with tasks in progress and in the queue, has another one go on, and counts what never ran and what ran
// more than once.
func terminated(ctx context.Context, b *bench, c command) (figures, error) {
	const running, waiting = 4, 100
	here := load{concurrency: running, options: []string{"-n", "first@bench"}}
	first, err := b.start(ctx, c, here)
	defer func() { first.kill() }()
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx, first, running); err != nil {
		return nil, err
	}
	if err := b.server.client.FlushDB(ctx).Err(); err != nil { // await counts keys
		return nil, err
	}
	path := filepath.Join(b.dir, fmt.Sprintf("notes-%d", first.cmd.Process.Pid))
	ids, _, err := b.push(ctx, "bench.note", running, []any{path, 2})
	if err != nil {
		return nil, err
	}
	for begun := 0; begun < running; begun = len(lines(path)) {
		if err := pause(ctx, pollEvery); err != nil {
			return nil, fmt.Errorf("wait for %d tasks to begin: %w", running, err)
		}
	}
	more, _, err := b.push(ctx, "bench.note", waiting, []any{path, 0})
	if err != nil {
		return nil, err
	}
	at := time.Now()
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil, fmt.Errorf("end the worker: %w", err)
	}
	select {
	case <-first.ended:
	case <-time.After(patience):
		return nil, fmt.Errorf("still there %v after TERM", patience)
	}
	took := time.Since(at)
	second, err := b.start(ctx, c, load{concurrency: running, options: []string{"-n", "second@bench"}})
	defer func() { b.stop(second) }()
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	if err := b.await(bounded, second, append(ids, more...)); err != nil && bounded.Err() == nil {
		return nil, err
	}
	runs := map[string]int{}
	for _, id := range lines(path) {
		runs[id]++
	}
	doubled := 0
	for _, n := range runs {
		doubled += n - 1
	}
	return figures{"term_lost": float64(running + waiting - len(runs)), "term_doubled": float64(doubled), "term_took": took.Seconds()}, nil
}

func lines(path string) []string {
	text, _ := os.ReadFile(path) // not there yet: nothing
	return strings.Fields(string(text))
}

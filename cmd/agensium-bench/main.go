// Command agensium-bench measures agensium beside `celery worker`: the same application and virtual environment, the same
// Redis, in turns, medians of the runs. It prints a table and saves it as markdown and JSON. It is a program for people who work
// on agensium; nothing else calls it. It needs Linux: CPU and memory of a process tree are read from /proc.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `agensium-bench: agensium beside celery worker, on one Redis, in turns

  agensium-bench [flags]

A worker is NAME=COMMAND. In the command {python} is the interpreter of the virtual environment, {app} the application and
{concurrency} the number of slots; options that a measurement needs are appended, as both take the same. Given once or more,
-worker replaces both defaults; the first is what the ratio is against.

  agensium-bench -only throughput,latency -runs 1 -worker 'agensium=bin/agensium worker -A {app} -c {concurrency} -l WARNING'

`

var defaultWorkers = workers{
	{Name: "celery", Command: "{python} -m celery -A {app} worker -P prefork -c {concurrency} -l WARNING"},
	{Name: "agensium", Command: "bin/agensium worker -A {app} -c {concurrency} -l WARNING"},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// settings are the flags.
type settings struct {
	workers workers
	only    string
	runs    int
	tasks   int
	idle    time.Duration
	venv    string
	redis   string
	out     string
}

func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{}
	flags := flag.NewFlagSet("agensium-bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "\nMeasurements:")
		for _, m := range measurements {
			fmt.Fprintf(stderr, "  %-11s %s\n", m.name, m.about)
		}
	}
	flags.Var(&s.workers, "worker", "`NAME=COMMAND` of a worker to measure; may be repeated")
	flags.StringVar(&s.only, "only", "", "comma-separated `measurements`; all if empty")
	flags.IntVar(&s.runs, "runs", 3, "runs of each measurement and worker")
	flags.IntVar(&s.tasks, "tasks", 10000, "tasks in the preloaded queue")
	flags.DurationVar(&s.idle, "idle", time.Minute, "how long to watch an idle worker")
	flags.StringVar(&s.venv, "venv", ".cache/venvs/celery-latest", "virtual environment with Celery")
	flags.StringVar(&s.redis, "redis-server", "redis-server", "the server to start")
	flags.StringVar(&s.out, "out", ".cache/bench", "directory for results and logs")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.runs < 1 || s.tasks < 1 || s.idle <= 0 {
		return s, errors.New("-runs, -tasks and -idle must be positive")
	}
	if len(s.workers) == 0 {
		s.workers = defaultWorkers
	}
	return s, nil
}

// choose returns the measurements that -only names.
func choose(only string) ([]measurement, error) {
	if only == "" {
		return measurements, nil
	}
	var chosen []measurement
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(measurements, func(m measurement) bool { return m.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("-only: no measurement %q", name)
		}
		chosen = append(chosen, measurements[i])
	}
	return chosen, nil
}

// run returns the exit status: 0, 1 if something could not be measured, 2 on bad usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	chosen, err2 := choose(s.only)
	if err = errors.Join(err, err2); err != nil {
		fmt.Fprintln(stderr, "agensium-bench:", err)
		return 2
	}
	b, err := newBench(ctx, s, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "agensium-bench:", err)
		return 1
	}
	defer b.close()

	r := newReport(s, b.environment(ctx))
	for _, m := range chosen {
		b.inTurns(ctx, m, r)
		if ctx.Err() != nil {
			fmt.Fprintln(stderr, "agensium-bench: interrupted")
			return 1
		}
	}
	fmt.Fprint(stdout, r.markdown())
	path, err := r.save(s.out, time.Now())
	if err != nil {
		fmt.Fprintln(stderr, "agensium-bench:", err)
		return 1
	}
	fmt.Fprintf(stdout, "\nsaved: %s (and .json); logs of the workers: %s\n", path, filepath.Join(s.out, "log"))
	if len(r.Failures) > 0 {
		return 1
	}
	return 0
}

// inTurns measures each worker in each run, the order reversed from run to run, and puts what it finds in the report.
func (b *bench) inTurns(ctx context.Context, m measurement, r *report) {
	runs := b.runs
	if m.once {
		runs = 1
	}
	for i := range runs {
		order := slices.Clone(b.workers)
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, w := range order {
			if ctx.Err() != nil {
				return
			}
			began := time.Now()
			found, err := b.measure(ctx, m, w)
			if b.stubborn {
				r.fail(m.name, w.Name, fmt.Errorf("still there %v after TERM, killed", patience))
			}
			if err != nil {
				r.fail(m.name, w.Name, err)
				fmt.Fprintf(b.progress, "%-11s %d/%d %-10s %v\n", m.name, i+1, runs, w.Name, err)
				continue
			}
			r.add(m, w.Name, found)
			fmt.Fprintf(b.progress, "%-11s %d/%d %-10s %5.1f s  %s\n", m.name, i+1, runs, w.Name, time.Since(began).Seconds(), found)
		}
	}
}

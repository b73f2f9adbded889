package python

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool/child"
)

func discard(context.Context, []celery.Result) error { return nil }

func startLight(b testing.TB) (*Application, *client) {
	python := interpreter(b, latest)
	app, err := Start(context.Background(), Options{Interpreter: python, App: "light", Dir: "testdata/apps", Node: "celery@bench", Store: discard})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = app.Close(context.Background()) })
	return app, startClient(b, python, "testdata/apps", "light")
}

// BenchmarkNoop runs tasks one after the other in one child. It reports the CPU time of the child and ours.
func BenchmarkNoop(b *testing.B) {
	app, client := startLight(b)
	executor, err := app.Start(context.Background(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer executor.Close(context.Background())
	job := jobOf(client.one(b, "noop.delay()"))
	job.Soft, job.Hard = time.Minute, time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 300 {
		if out, err := executor.Execute(ctx, job); err != nil || out.State != celery.StateSuccess || len(out.Results) != 1 {
			b.Fatal(out, err)
		}
	}
	pid := executor.(*Child).PID()
	before, _ := child.UsageOf(pid)
	ours := cpuTime()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := executor.Execute(ctx, job); err != nil {
			b.Fatal(err)
		}
	}
	after, _ := child.UsageOf(pid)
	b.ReportMetric(float64((after.CPU-before.CPU).Microseconds())/float64(b.N), "child-cpu-µs/op")
	b.ReportMetric(float64((cpuTime()-ours).Microseconds())/float64(b.N), "go-cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkFork makes children and waits until each is ready.
func BenchmarkFork(b *testing.B) {
	app, _ := startLight(b)
	for b.Loop() {
		executor, err := app.Start(context.Background(), 0)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = executor.Close(context.Background())
		b.StartTimer()
	}
}

// BenchmarkStart imports a small application and makes the first child.
func BenchmarkStart(b *testing.B) {
	python := interpreter(b, latest)
	for b.Loop() {
		app, err := Start(context.Background(), Options{Interpreter: python, App: "light", Dir: "testdata/apps", Node: "celery@bench", Store: discard})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = app.Close(context.Background())
		b.StartTimer()
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
)

// BenchmarkHandlers runs b.N no-op tasks with stored results out of a full queue at concurrency 16: -benchtime 1000000x for memory.
func BenchmarkHandlers(b *testing.B) {
	server := celerytest.StartRedis(b)
	c := connect(b, server)
	push(b, c, b.N)

	var ran atomic.Int64
	done := make(chan struct{})
	var began time.Time
	mux := celery.NewMux()
	celery.Handle(mux, "bench.noop", func() {
		n := ran.Add(1)
		if n == 1 {
			began = time.Now()
		}
		if n == 100_000 {
			b.ReportMetric(resident(b), "MB@100k")
		}
		if n == int64(b.N) {
			close(done)
		}
	})
	before, used, serving := commands(b, server), cpu(b), serverCPU(b, server)
	b.ResetTimer()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Run(ctx, options(b, server, mux)) }()
	<-done
	took := time.Since(began)
	b.ReportMetric(resident(b), "MB@end")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	n := float64(b.N)
	b.ReportMetric(n/took.Seconds(), "tasks/s")
	b.ReportMetric((cpu(b)-used).Seconds()*1e6/n, "cpu-µs/task")
	b.ReportMetric((serverCPU(b, server)-serving)*1e6/n, "redis-µs/task")
	b.ReportMetric((commands(b, server)-before)/n, "commands/task")
	if stored := server.Client(0).DBSize(context.Background()).Val(); stored < int64(b.N) {
		b.Errorf("%d keys after %d results", stored, b.N)
	}
}

// BenchmarkSend sends tasks in batches of 500, each a pipeline.
func BenchmarkSend(b *testing.B) {
	server := celerytest.StartRedis(b)
	c := connect(b, server)
	used := cpu(b)
	b.ResetTimer()
	push(b, c, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric((cpu(b)-used).Seconds()*1e6/float64(b.N), "cpu-µs/task")
}

func push(b *testing.B, c *client.Client, n int) {
	batch := c.Batch(context.Background())
	for i := range n {
		if _, err := batch.Send("bench.noop"); err != nil {
			b.Fatal(err)
		}
		if batch.Len() == 500 || i == n-1 {
			if err := batch.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func connect(b *testing.B, server *celerytest.Redis) *client.Client {
	target, err := redisconn.Parse(server.URL(0), nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := client.New(client.Options{Broker: target})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}

func options(b *testing.B, server *celerytest.Redis, mux *celery.Mux) supervisor.Options {
	dir := b.TempDir()
	text := fmt.Sprintf("broker.url = %q\nresults.url = %q\nadmin.listen = \"\"\nlog.level = \"warn\"\npool.concurrency = 16\n", server.URL(0), server.URL(0))
	if err := os.WriteFile(filepath.Join(dir, "agensium.toml"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	loaded, err := config.Load(config.Input{Dir: dir, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		b.Fatal(err)
	}
	return supervisor.Options{Handlers: mux, Loaded: loaded, Signals: make(chan os.Signal), Stderr: io.Discard}
}

func commands(b *testing.B, server *celerytest.Redis) float64 {
	return info(b, server, "stats", "total_commands_processed")
}

// serverCPU is the time in seconds that Redis has used.
func serverCPU(b *testing.B, server *celerytest.Redis) float64 {
	return info(b, server, "cpu", "used_cpu_user") + info(b, server, "cpu", "used_cpu_sys")
}

func info(b *testing.B, server *celerytest.Redis, section, field string) float64 {
	text, err := server.Client(0).Info(context.Background(), section).Result()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, field+":")
	number, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// resident is the memory of this process in MB.
func resident(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("no /proc here")
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * float64(os.Getpagesize()) / 1e6
}

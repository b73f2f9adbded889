package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

// What BenchmarkHandlers is measured against: the same tasks, concurrency and Redis.

// BenchmarkAsynq has asynq do it, which is a module of its own in testdata, with its own client and its own messages.
func BenchmarkAsynq(b *testing.B) {
	program := filepath.Join(b.TempDir(), "asynq")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("testdata", "asynq")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build asynq: %v\n%s", err, out)
	}
	server := celerytest.StartRedis(b)
	b.ResetTimer()
	out, err := exec.Command(program, "-redis", server.Addr(), "-tasks", fmt.Sprint(b.N), "-concurrency", "16").Output()
	b.StopTimer()
	if err != nil {
		b.Fatalf("asynq: %v", err)
	}
	var took, used float64
	if _, err := fmt.Sscan(string(out), &took, &used); err != nil {
		b.Fatalf("asynq printed %q: %v", out, err)
	}
	b.ReportMetric(float64(b.N)/took, "tasks/s")
	b.ReportMetric(used*1e6/float64(b.N), "cpu-µs/task")
}

const celeryApp = `
from celery import Celery
app = Celery(broker=%[1]q, backend=%[1]q)
app.conf.broker_connection_retry_on_startup = True
@app.task(name="bench.noop")
def noop(): pass
`

// BenchmarkCelery has `celery worker` do it, five thousand tasks at most.
func BenchmarkCelery(b *testing.B) {
	n := min(b.N, 5000)
	python := celerytest.Venv(b, "celery-latest")
	server := celerytest.StartRedis(b)
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bench.py"), fmt.Appendf(nil, celeryApp, server.URL(0)), 0o600); err != nil {
		b.Fatal(err)
	}
	c, rdb, ctx := connect(b, server), server.Client(0), context.Background()
	celerytest.StartProcess(b, dir, nil, python, "-m", "celery", "-A", "bench", "worker", "-P", "prefork", "-c", "16", "-l", "WARNING")
	stored := func(n int) bool {
		size, err := rdb.DBSize(ctx).Result() // costs Redis nothing
		if err != nil {
			b.Fatal(err)
		}
		return int(size) >= n && len(rdb.Keys(ctx, "celery-task-meta-*").Val()) >= n
	}
	push(b, c, 100)
	celerytest.Eventually(b, "the worker to be warm", func() bool { return stored(100) })

	if err := rdb.FlushAll(ctx).Err(); err != nil {
		b.Fatal(err)
	}
	push(b, c, n)
	b.ResetTimer()
	began := time.Now()
	for look := time.Tick(10 * time.Millisecond); !stored(n); {
		<-look
	}
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "tasks/s")
}

// BenchmarkWire is what Redis allows: the four commands of each task, written and read as bytes that were made before, with nothing
// done about a task. One round of sixteen is under way at a time, or two.
func BenchmarkWire(b *testing.B) {
	const tasks = 16
	for _, underway := range []int{1, 2} {
		b.Run(fmt.Sprintf("rounds=%d", underway), func(b *testing.B) {
			server := celerytest.StartRedis(b)
			push(b, connect(b, server), b.N)
			rounds := make([][]byte, (b.N+tasks-1)/tasks)
			for i := range rounds {
				rounds[i] = round(i, tasks)
			}
			conn, err := net.Dial("tcp", server.Addr())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			replies := bufio.NewReaderSize(conn, 1<<16)
			serving := serverCPU(b, server)
			b.ResetTimer()
			for sent, read := 0, 0; read < len(rounds); read++ {
				for ; sent < len(rounds) && sent-read < underway; sent++ {
					if _, err := conn.Write(rounds[sent]); err != nil {
						b.Fatal(err)
					}
				}
				for range 4 * tasks {
					if err := skipReply(replies); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
			b.ReportMetric((serverCPU(b, server)-serving)*1e6/float64(b.N), "redis-µs/task")
		})
	}
}

// round is a pipeline that ends so many tasks and claims as many.
func round(number, tasks int) []byte {
	const document = `{"status": "SUCCESS", "result": null, "traceback": null, "children": [], "date_done": "2026-01-01T00:00:00.000000+00:00", "task_id": "%s"}`
	var out bytes.Buffer
	command := func(words ...string) {
		fmt.Fprintf(&out, "*%d\r\n", len(words))
		for _, w := range words {
			fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(w), w)
		}
	}
	claim := func(i int) string {
		return fmt.Sprintf("agensium:claim:0123456789abcdef:%d:celery", number%4*tasks+i)
	}
	for i := range tasks {
		id := fmt.Sprintf("%08x-0000-4000-8000-%012x", number, i)
		command("SET", "celery-task-meta-"+id, fmt.Sprintf(document, id), "EX", "86400")
		command("PUBLISH", "celery-task-meta-"+id, fmt.Sprintf(document, id))
		command("DEL", claim(i))
	}
	for i := range tasks {
		command("LMOVE", "celery", claim(i), "RIGHT", "LEFT")
	}
	return out.Bytes()
}

// skipReply reads one reply: a line, and the text that it announces if it does.
func skipReply(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	switch line[0] {
	case '-':
		return fmt.Errorf("redis: %s", line)
	case '$':
		n, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
		if err != nil || n < 0 {
			return err
		}
		_, err = r.Discard(n + len("\r\n"))
		return err
	}
	return nil
}

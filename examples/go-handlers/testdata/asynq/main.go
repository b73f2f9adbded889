// Command asynq runs no-op tasks with stored results out of a full queue, with asynq and its own client. It prints how long the tasks took from
// the first to the last in seconds, and the CPU time of the process for them. It is a module of its own: what it needs, agensium does not.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

func main() {
	addr := flag.String("redis", "localhost:6379", "host:port")
	tasks := flag.Int64("tasks", 100000, "how many")
	concurrency := flag.Int("concurrency", 16, "how many at a time")
	flag.Parse()

	redis := asynq.RedisClientOpt{Addr: *addr}
	client := asynq.NewClient(redis)
	defer client.Close()
	for range *tasks {
		if _, err := client.Enqueue(asynq.NewTask("bench.noop", nil), asynq.Retention(24*time.Hour)); err != nil { // Celery's result_expires
			log.Fatal(err)
		}
	}

	var ran atomic.Int64
	var began time.Time
	done := make(chan struct{})
	server := asynq.NewServer(redis, asynq.Config{Concurrency: *concurrency, LogLevel: asynq.WarnLevel})
	before := cpu()
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		n := ran.Add(1)
		if n == 1 {
			began = time.Now()
		}
		if _, err := t.ResultWriter().Write([]byte("null")); err != nil {
			return err
		}
		if n == *tasks {
			close(done)
		}
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	<-done
	fmt.Println(time.Since(began).Seconds(), (cpu() - before).Seconds())
	server.Shutdown()
}

// cpu is what this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

package broker

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// BenchmarkTasks has slots that do nothing between two calls of Next.
func BenchmarkTasks(b *testing.B) {
	for _, slots := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			r := celerytest.StartRedis(b)
			c := r.Client(0)
			raw := message("5d4a6e0e-3f0c-4b5a-9a51-6f9d7c1d2e3f", 0)
			for left := b.N; left > 0; left -= 1000 {
				batch := make([]any, min(left, 1000))
				for i := range batch {
					batch[i] = raw
				}
				if err := c.LPush(b.Context(), "celery", batch...).Err(); err != nil {
					b.Fatal(err)
				}
			}
			doc := make([]byte, 200)
			for i := range doc {
				doc[i] = 'x'
			}
			b.ReportAllocs()
			br := start(b, r.URL(0))
			celerytest.Eventually(b, "connection", func() bool { return br.Status().Connected })
			before := commands(br)
			cpu := cpuTime()
			b.ResetTimer()
			var slotsDone sync.WaitGroup
			var left = make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			begin := time.Now()
			for s := range slots {
				slotsDone.Go(func() {
					key := fmt.Sprintf("celery-task-meta-%d", s)
					var done *Finished
					for range left {
						d, err := br.Next(context.Background(), done)
						if err != nil {
							b.Error(err)
							return
						}
						done = &Finished{d, Settlement{Results: []celery.Result{{Key: key, Document: doc}}, Action: Ack}}
					}
					if done != nil {
						_ = br.Settle(context.Background(), *done)
					}
				})
			}
			slotsDone.Wait()
			took := time.Since(begin)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/took.Seconds(), "tasks/s")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "µs-cpu/task")
			b.ReportMetric(float64(commands(br)-before)/float64(b.N), "commands/task")
		})
	}
}

func commands(b *Broker) (n uint64) {
	for _, k := range b.Status().Commands {
		n += k
	}
	return n
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
